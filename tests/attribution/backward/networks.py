"""Small networks with every structure that a reverse walk must follow, and the large ones of torchvision."""

from collections.abc import Callable

import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from tests.attribution.networks import randomise
from xcnn.models import conv3, small_vgg16


class Small(nn.Module):
    """Residual addition, concatenation, reused and in-place ReLUs, overlapping poolings, BatchNorm on both sides."""

    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.conv1, self.norm1 = nn.Conv2d(6, 6, 3, padding=1, bias=bias), nn.BatchNorm2d(6)
        self.conv2, self.norm2 = nn.Conv2d(6, 6, 3, padding=1, groups=2, bias=bias), nn.BatchNorm2d(6)
        self.before = nn.BatchNorm2d(12)  # of a concatenation, so that no convolution comes before it
        self.conv3 = nn.Conv2d(12, 8, 3, stride=2, bias=bias)
        self.average = nn.AvgPool2d(2, 1)
        self.hidden, self.last = nn.LazyLinear(9, bias=bias), nn.Linear(9, 5, bias=bias)

    def forward(self, images: Tensor) -> Tensor:
        x = self.pool(self.relu(self.norm(self.stem(images))))
        y = self.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        y += x
        y = self.relu(y)
        z = torch.cat([y, F.max_pool2d(x, 3, 1, 1)], 1)
        z = self.average(F.relu(self.conv3(F.relu(self.before(z), inplace=True))))
        return self.last(torch.relu(self.hidden(torch.flatten(z, 1))))


class Gated(nn.Module):
    """A squeeze-and-excitation block, SiLU, GELU, hardswish, ReLU6, LayerNorm, GroupNorm and a scale."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8)
        self.squeeze, self.excite = nn.Conv2d(8, 2, 1), nn.Conv2d(2, 8, 1)
        self.wide, self.narrow = nn.Linear(8, 12), nn.Linear(12, 8)
        self.layer_norm, self.group_norm = nn.LayerNorm(8), nn.GroupNorm(2, 8)
        self.scale = nn.Parameter(torch.ones(8, 1, 1))
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.head = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        x = F.silu(self.norm(self.stem(images)))
        x = x * torch.sigmoid(self.excite(F.silu(self.squeeze(x.mean((2, 3), keepdim=True)))))
        y = self.layer_norm(self.group_norm(self.depthwise(x)).permute(0, 2, 3, 1))
        x = x + self.scale * self.narrow(F.gelu(self.wide(y))).permute(0, 3, 1, 2)
        x = F.hardswish(x) + F.relu6(3 * x)
        first, second = x.chunk(2, 1)
        x = F.group_norm(torch.cat([second, first], 1), 4, eps=0.1)
        return self.head(F.layer_norm(torch.relu(x).mean((2, 3)), (8,)))


class Plain(nn.Module):
    """Convolution, ReLU, convolution, linear: no activation is ever negative after the first."""

    def __init__(self, relu: bool = True) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 5, 3), nn.Conv2d(5, 4, 3)
        self.head = nn.LazyLinear(5)
        self.act = nn.ReLU() if relu else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        x = self.act(self.second(self.act(self.first(images))))
        return self.head(F.max_pool2d(x, 2).flatten(1) if isinstance(self.act, nn.ReLU) else x.flatten(1))


def small(kind: Callable[[], nn.Module] = Small, size: int = 16) -> nn.Module:
    """A small network with random weights in float64."""
    torch.manual_seed(0)
    model = kind().eval()
    with torch.no_grad():
        model(torch.zeros(1, 3, size, size))
    return randomise(model)


@torch.no_grad()
def without_biases(model: nn.Module) -> nn.Module:
    """The network with every bias, and every shift of a BatchNorm, at zero."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None
            module.running_mean.zero_()
        if isinstance(getattr(module, "bias", None), Tensor):
            module.bias.zero_()  # type: ignore[operator, union-attr]
    return model


def images(n: int = 2, size: int = 16) -> Tensor:
    return torch.randn(n, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


LARGE: dict[str, tuple[Callable[..., nn.Module], int]] = {
    "resnet18": (torchvision.models.resnet18, 64),
    "resnet50": (torchvision.models.resnet50, 64),
    "vgg11": (torchvision.models.vgg11, 32),
    "vgg16": (torchvision.models.vgg16, 32),
    "vgg11_bn": (torchvision.models.vgg11_bn, 32),
    "vgg16_bn": (torchvision.models.vgg16_bn, 32),
    "densenet121": (torchvision.models.densenet121, 32),
    "mobilenet_v2": (torchvision.models.mobilenet_v2, 32),
    "mobilenet_v3_small": (torchvision.models.mobilenet_v3_small, 32),
    "mobilenet_v3_large": (torchvision.models.mobilenet_v3_large, 32),
    "googlenet": (lambda **k: torchvision.models.googlenet(init_weights=False, **k), 32),
    "efficientnet_b0": (torchvision.models.efficientnet_b0, 32),
    "convnext_tiny": (torchvision.models.convnext_tiny, 32),
    "timm/resnet26d": (lambda **k: timm.create_model("resnet26d", **k), 32),
    "timm/seresnet33ts": (lambda **k: timm.create_model("seresnet33ts", **k), 32),
    "timm/resnet50_gn": (lambda **k: timm.create_model("resnet50_gn", **k), 32),
    "conv3": (lambda num_classes: conv3(num_classes), 32),
    "small_vgg16": (lambda num_classes: small_vgg16(num_classes, 32), 32),
}


def large(name: str) -> nn.Module:
    """A network of torchvision with random weights in float64; its activations stay of order 1."""
    torch.manual_seed(0)
    make, _ = LARGE[name]
    model = make(num_classes=5)
    if name.startswith("vgg"):  # the classifier of 120 million weights adds nothing to a walk
        model.classifier = nn.Sequential(nn.Linear(512, 32), nn.ReLU(True), nn.Dropout(), nn.Linear(32, 5))
        model.avgpool = nn.AdaptiveAvgPool2d(1)
    return randomise(model)
