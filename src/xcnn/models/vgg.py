"""VGG-16 with other classifiers: the convolutions of Simonyan & Zisserman (2015), and fewer units behind them."""

from pathlib import Path
from typing import Literal

import torchvision
from torch import nn

from xcnn.errors import UserError
from xcnn.models.weights import load_weights


def small_vgg16(
    n_classes: int, width: int = 512, pool: int = 2, dropout: float = 0.0, weights: str | Path | None = None
) -> nn.Module:
    """torchvision's VGG-16 with BatchNorm, for pictures of 32 to 128 px, in eval mode.

    Its classifier has three linear layers as the original, but `width` units on `pool` x `pool` places in place of 4096
    on 7 x 7: at 64 px the last pooling leaves 2 x 2, and nine tenths of the original's weights would see copies.

    Args:
        n_classes: width of the last layer.
        width: of the two layers before it.
        pool: side of the maps that the classifier sees, by adaptive average pooling.
        dropout: share of the units left out while training.
        weights: a `.safetensors` file; None leaves the network as torch's random generator draws it.

    Raises:
        UserError: no file at `weights`, or one of another network.
    """
    network = torchvision.models.VGG(
        torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"], batch_norm=True), n_classes, False
    )
    network.avgpool, network.classifier = nn.AdaptiveAvgPool2d(pool), _classifier(n_classes, width, pool, dropout)
    _drawn(network)
    if weights is not None:
        load_weights(network, weights, _remedy(weights))
    return network.eval()


def vgg16_for(
    n_classes: int,
    width: int | None = 512,
    dropout: float = 0.0,
    weights: str | Path | None = None,
    holds: Literal["network", "features"] = "network",
) -> nn.Module:
    """torchvision's VGG-16 (without BatchNorm, for 224 px) with another classifier, in eval mode.

    Args:
        n_classes: width of the last layer.
        width: of the two hidden layers, 4096 in the original; None has a single linear layer on the maps' means.
        dropout: share of the hidden units left out while training.
        weights: a `.safetensors` file; None leaves the network as torch's random generator draws it.
        holds: what the file holds: the whole "network", or its "features", the convolutions alone, with the
            classifier left as drawn.

    Raises:
        UserError: no file at `weights`, or one of another network.
    """
    network = torchvision.models.VGG(torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"]), 1, False)
    pool = 1 if width is None else 7
    network.avgpool, network.classifier = nn.AdaptiveAvgPool2d(pool), _classifier(n_classes, width, pool, dropout)
    _drawn(network)
    if holds not in ("network", "features"):
        raise UserError(f"holds must be 'network' or 'features', not {holds!r}.")
    if weights is not None:
        part = network if holds == "network" else nn.ModuleDict({"features": network.features})
        load_weights(part, weights, _remedy(weights))
    return network.eval()


def _classifier(n_classes: int, width: int | None, pool: int, dropout: float) -> nn.Sequential:
    """Logits of the 512 maps pooled to `pool` x `pool`."""
    if width is None:
        return nn.Sequential(nn.Linear(512 * pool * pool, n_classes))
    return nn.Sequential(
        nn.Linear(512 * pool * pool, width),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(width, width),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(width, n_classes),
    )


def _drawn(network: torchvision.models.VGG) -> None:
    """He's initialisation, with which all classes are alike at first, as torchvision has it."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.constant_(module.get_parameter("bias"), 0)
    nn.init.normal_(network.classifier[-1].weight, std=0.01)


def _remedy(weights: str | Path) -> str:
    target = Path(weights).stem.replace("_", "-")
    return f"Run `make weights-{target}`, or name another file with model.weights=PATH."
