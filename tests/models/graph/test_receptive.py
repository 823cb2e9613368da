"""Receptive fields against brute force: the pixels whose change changes a location."""

import pytest
import torch
import torchvision
from torch import Tensor, nn

from xcnn.errors import UserError
from xcnn.models import conv3
from xcnn.models.graph import TracedNetwork, receptive_fields


class Branches(nn.Module):
    """A residual sum, a dilated branch to be concatenated, an average pooling and an adaptive one that is uneven."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 5, stride=2, padding=1)
        self.conv = nn.Conv2d(4, 4, (3, 1), padding=(1, 0))
        self.wide = nn.Conv2d(4, 3, 3, padding=3, dilation=3)
        self.pool = nn.AvgPool2d(3, stride=2, padding=1)
        self.bins = nn.AdaptiveAvgPool2d((3, 2))
        self.join, self.down, self.uneven = nn.Identity(), nn.Identity(), nn.Identity()
        self.classifier = nn.Linear(42, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.stem(x))
        x = self.join(torch.cat([x + self.conv(x), torch.relu(self.wide(x)) + 3], 1))
        x = self.down(self.pool(x))
        return self.classifier(self.uneven(self.bins(x)).flatten(1))


def brute_force(network: nn.Module, layer: str, size: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Spans of rows and of columns whose pixels have a gradient at the locations of a layer, in float64."""
    kept: list[Tensor] = []
    module = network.get_submodule(layer)
    hook = module.register_forward_hook(lambda module, args, output: kept.append(output))
    network = network.double().eval()
    image = torch.rand(1, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    network(image)
    hook.remove()
    rows, columns = [], []
    h, w = kept[0].shape[2:]
    for i in range(max(h, w)):
        (gradient,) = torch.autograd.grad(kept[0][0, :, min(i, h - 1), min(i, w - 1)].sum(), image, retain_graph=True)
        touched = gradient[0].abs().sum(0) > 0
        for found, dim, n in ((rows, 1, h), (columns, 0, w)):
            if i < n:
                places = touched.any(dim).nonzero()[:, 0]
                found.append(torch.stack([places[0], places[-1] + 1]))
    return torch.stack(rows), torch.stack(columns)


def soft(network: nn.Module) -> nn.Module:
    """With max-poolings replaced by average ones and ReLUs by softplus, which no value silences."""
    for name, child in network.named_children():
        if isinstance(child, nn.MaxPool2d):
            setattr(network, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
        elif isinstance(child, nn.ReLU):
            setattr(network, name, nn.Softplus())
        else:
            soft(child)
    return network


@pytest.mark.parametrize(
    ("make", "layers", "size"),
    [
        (conv3, ["relu1", "relu2", "pool2", "relu3"], (3, 20, 24)),
        (Branches, ["stem", "join", "down", "uneven"], (3, 25, 30)),
        (lambda: torchvision.models.resnet18(num_classes=2), ["layer1", "layer2"], (3, 64, 72)),
    ],
)
def test_fields_are_those_of_brute_force(make, layers: list[str], size: tuple[int, int, int]) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    network = soft(make())
    fields = receptive_fields(TracedNetwork(network), layers, size)
    for layer, field in zip(layers, fields, strict=True):
        rows, columns = brute_force(network, layer, size)
        assert torch.equal(field.rows, rows) and torch.equal(field.columns, columns), layer


def test_known_sides_and_a_box() -> None:
    network = torchvision.models.resnet18(num_classes=2)
    fields = receptive_fields(TracedNetwork(network), ["relu", "layer1", "layer2"], (3, 256, 256))
    assert [field.side for field in fields] == [(7, 7), (43, 43), (99, 99)]
    first = fields[0]
    assert first.box(0, 3) == (3, 0, 10, 4)  # 2 x 3 - 3 to + 4, and clipped above


def test_what_mixes_all_places_sees_all_that_is_seen() -> None:
    network = torchvision.models.squeezenet1_0(num_classes=2)
    field = receptive_fields(TracedNetwork(network), ["classifier.3"], (3, 64, 64))[0]
    assert field.box(0, 0) == (0, 0, 63, 63)  # the first convolution, of stride 2 without padding, skips the last pixel


def test_refused() -> None:
    with pytest.raises(UserError, match=r"gives .* per image, not maps"):
        receptive_fields(TracedNetwork(conv3()), ["flatten"], (3, 8, 8))
