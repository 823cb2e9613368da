"""VGG-16 for small images: the convolutions of Simonyan & Zisserman (2015), and a classifier of matching size."""

from pathlib import Path

import torchvision
from torch import nn

from xcnn.models.weights import load_weights


def small_vgg16(
    n_classes: int, width: int = 512, pool: int = 2, dropout: float = 0.0, weights: str | Path | None = None
) -> nn.Module:
    """torchvision's VGG-16 with BatchNorm, for images of 32 to 128 px, in eval mode.

    Its classifier has three linear layers, as the original's, but `width` units on `pool` x `pool` locations instead of
    4096 on 7 x 7: at 64 px the last pooling leaves 2 x 2, which the original would repeat to 7 x 7.

    Args:
        n_classes: width of the last layer.
        width: number of units of the two layers before it.
        pool: side of the maps given to the classifier, by adaptive average pooling.
        dropout: probability that a unit is dropped in training.
        weights: path of a `.safetensors` file; None keeps the random initialisation.

    Raises:
        UserError: no file at `weights`, or one of another network.
    """
    network = torchvision.models.VGG(
        torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"], batch_norm=True), n_classes, False
    )
    network.avgpool = nn.AdaptiveAvgPool2d(pool)
    network.classifier = nn.Sequential(
        nn.Linear(512 * pool * pool, width),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(width, width),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(width, n_classes),
    )
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.constant_(module.get_parameter("bias"), 0)
    nn.init.normal_(network.classifier[-1].weight, std=0.01)  # all classes equally likely at first, as in torchvision
    if weights is not None:
        target = Path(weights).stem.replace("_", "-")
        load_weights(network, weights, f"Run `make weights-{target}`, or name another file with model.weights=PATH.")
    return network.eval()
