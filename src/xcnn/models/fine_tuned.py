"""A pre-trained network for other classes: a new classifier, and BatchNorm statistics with which training can go on."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from xcnn.errors import UserError
from xcnn.models.backbones import backbone

IMAGENET_CLASSES = 1000


def fine_tuned(name: str, n_classes: int, weights: str | Path | None = None, **options: Any) -> nn.Module:
    """A network of `backbones` whose last linear layer is replaced by an untrained `Linear(D, n_classes, bias=False)`.

    Without a bias the classes' weight vectors alone decide (Boubekki & Clemmensen 2026, section 2, omit it).

    Args:
        name: see `backbone`.
        weights: path of a `.safetensors` file of the network for ImageNet's 1000 classes; None keeps the random
            initialisation, to be trained from scratch.
        options: keyword arguments of the network's own builder.

    Raises:
        UserError: as for `backbone`; or the network does not end in a linear layer.
    """
    network = backbone(name, IMAGENET_CLASSES, weights, **options)
    last, classifier = list(network.named_modules())[-1]
    if not isinstance(classifier, nn.Linear):
        raise UserError(
            f"{name} ends in {last!r}, a {type(classifier).__name__}; fine-tuning needs a linear layer there."
        )
    network.set_submodule(last, nn.Linear(classifier.in_features, n_classes, bias=False))
    return network.eval()


@torch.no_grad()
def recalibrate_batch_norm(network: nn.Module, images: Tensor) -> None:
    """Set every BatchNorm's statistics to those of these images, and its weights so that the network stays the same.

    Where the statistics were folded into the weights (means 0, variances 1), BatchNorm is right in evaluation mode
    only: in training it normalises by the statistics of its batch, which changes the outputs of pre-trained layers at
    the first step. Here the affine map y = a x + b of each layer in evaluation mode is expressed with the mean m and
    variance v of its own input: weight a sqrt(v + eps), bias b + a m. Outputs in evaluation mode differ by rounding
    only.

    Args:
        network: changed in place; its mode is left as it is.
        images: network input (N, C, H, W); a few hundred images.
    """
    norms = [
        module for module in network.modules() if isinstance(module, nn.BatchNorm2d) and module.track_running_stats
    ]
    found: dict[nn.BatchNorm2d, tuple[Tensor, Tensor]] = {}

    def measure(norm: nn.BatchNorm2d, arguments: tuple[Tensor]) -> None:
        var, mean = torch.var_mean(arguments[0].double(), (0, 2, 3), correction=0)
        found[norm] = mean, var

    modes = {module: module.training for module in network.modules()}
    hooks = [norm.register_forward_pre_hook(measure) for norm in norms]
    try:
        network.eval()(images)
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
    for norm, (mean, var) in found.items():
        assert norm.running_mean is not None and norm.running_var is not None
        slope = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        shift = norm.bias.double() - slope * norm.running_mean.double()
        norm.weight.copy_(slope * (var + norm.eps).sqrt())
        norm.bias.copy_(shift + slope * mean)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(var)


def statistics_folded(network: nn.Module) -> bool:
    """Whether all BatchNorm layers hold means 0 and variances 1: folded into the weights, or not estimated yet."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    return bool(norms) and all(
        norm.running_mean is not None
        and norm.running_var is not None
        and bool((norm.running_mean == 0).all() and (norm.running_var == 1).all())
        for norm in norms
    )
