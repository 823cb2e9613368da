"""Networks with random weights: what a law and a cost are measured on."""

from collections.abc import Callable

import torch
import torchvision
from torch import nn

from xcnn.models import backbone, conv3, small_vgg16, vgg16_for

OWN: dict[str, Callable[..., nn.Module]] = {"conv3": conv3, "small_vgg16": small_vgg16, "vgg16_for": vgg16_for}


@torch.no_grad()
def random_network(name: str, n_classes: int, seed: int = 0, slim: bool = True) -> nn.Module:
    """A network of this project, of torchvision or of timm by its name, in eval mode.

    Weights are of the scale that keeps activations alive, and biases and statistics are not those of a new network,
    zeros and ones, which would hide what a method does with them.

    Args:
        slim: whether torchvision's VGGs get a classifier of 32 units, as the 120 million weights of theirs add nothing
            to a walk but time and memory.
    """
    torch.manual_seed(seed)
    theirs = name in torchvision.models.list_models(module=torchvision.models)
    network = OWN[name](n_classes) if name in OWN else backbone(name if theirs else f"timm/{name}", n_classes)
    if slim and isinstance(network, torchvision.models.VGG) and name not in OWN:
        network.avgpool = nn.AdaptiveAvgPool2d(1)
        network.classifier = nn.Sequential(nn.Linear(512, 32), nn.ReLU(True), nn.Dropout(), nn.Linear(32, n_classes))
    for weight in network.parameters():
        if weight.ndim > 1:
            weight.normal_(0, (2 / weight[0].numel()) ** 0.5)
        else:
            weight.uniform_(-0.5, 1.5)
    for buffer_name, buffer in network.named_buffers():
        if buffer_name.endswith("running_mean"):
            buffer.normal_(0, 0.3)
        elif buffer_name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    return network.eval()
