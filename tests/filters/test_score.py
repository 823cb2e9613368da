"""Filter scores against algorithm 1 written out, one filter and one step at a time."""

from collections import OrderedDict

import pytest
import torch
import torchvision
from torch import Tensor, nn

from xcnn.errors import UserError
from xcnn.filters import ramp, score_filters, score_layers
from xcnn.models import conv3, split_at

LAYERS = ("relu1", "relu2", "relu3")


@torch.no_grad()
def algorithm_1(model: nn.Module, layer: str, size: tuple[int, ...], unit: Tensor) -> Tensor:
    """The listing of DeConvolve, with the head that `split_at` gives (which has its own tests)."""
    sub_model = split_at(model, layer).head
    columns = []
    for k in range(size[0]):
        one_hot_input = torch.zeros(1, *size, dtype=unit.dtype)
        baseline_prob = sub_model(one_hot_input).softmax(1)[0]
        one_hot_input[:, k] = unit[k]
        activated_prob = sub_model(one_hot_input).softmax(1)[0]
        columns.append(activated_prob - baseline_prob)
    return torch.stack(columns, dim=1)


@pytest.fixture
def model() -> nn.Module:
    """Weights large enough that scores are far from 0, or equality to 1e-6 would say little."""
    torch.manual_seed(0)
    model = conv3()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)
    return model


def _size(layer: str, side: int = 32) -> tuple[int, int, int]:
    index = LAYERS.index(layer)
    return 32 << index, side >> index, side >> index


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("batch_size", [7, 256])
def test_scores_are_algorithm_1s(model: nn.Module, layer: str, batch_size: int) -> None:
    expected = algorithm_1(model, layer, _size(layer), torch.ones(_size(layer)[0]))
    assert expected.abs().max() > 0.01
    model.train()
    scores = score_filters(model, layer, batch_size=batch_size)
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-6)
    assert not scores.requires_grad and model.training


def test_all_layers_at_once_with_their_own_units(model: nn.Module) -> None:
    units = {layer: torch.rand(_size(layer)[0]) * 3 for layer in LAYERS}
    scores = score_layers(model, LAYERS, unit=units)
    assert list(scores) == list(LAYERS)
    for layer in LAYERS:
        torch.testing.assert_close(
            scores[layer], algorithm_1(model, layer, _size(layer), units[layer]), rtol=0, atol=1e-6
        )
        torch.testing.assert_close(scores[layer], score_filters(model, layer, unit=units[layer]))
    with pytest.raises(UserError, match="no values for layer 'relu2'"):
        score_layers(model, LAYERS, unit={"relu1": units["relu1"]})


def test_last_layer_in_closed_form(model: nn.Module) -> None:
    """softmax(b + u W_k) - softmax(b), the spec's oracle."""
    linear = model.classifier
    expected = (linear.bias[:, None] + 0.5 * linear.weight).softmax(0) - linear.bias.softmax(0)[:, None]
    torch.testing.assert_close(score_filters(model, "relu3", unit=0.5), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("layer", LAYERS)
def test_ramp(model: nn.Module, layer: str) -> None:
    model.double()
    curve = ramp(model, layer, (3, 16, 16), steps=5, unit=2.0, batch_size=30)
    size = _size(layer, 16)
    for step in range(5):
        expected = algorithm_1(model, layer, size, torch.full((size[0],), step / 2, dtype=torch.float64))
        torch.testing.assert_close(curve[step], expected, rtol=0, atol=1e-12)
    assert not curve[0].any()
    torch.testing.assert_close(curve[-1], score_filters(model, layer, (3, 16, 16), unit=2.0), rtol=0, atol=1e-12)


def _network(**layers: nn.Module) -> nn.Module:
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 6, 3, padding=1), **layers, gap=nn.AdaptiveAvgPool2d(1)))


HEADS = {
    "stride": [nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 5, 3, stride=2)],
    "dilation": [nn.Conv2d(6, 8, 3, dilation=2, padding=2, bias=False), nn.ReLU(), nn.Conv2d(8, 5, 2)],
    "groups": [nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1, groups=3), nn.ReLU(), nn.Conv2d(6, 5, (3, 1), padding=(1, 0))],
    "even same": [nn.Conv2d(6, 8, (2, 4), padding="same"), nn.Sigmoid(), nn.Conv2d(8, 5, 3, padding="valid")],
    "reflected": [nn.ReLU(), nn.Conv2d(6, 5, 3, padding=1, padding_mode="reflect"), nn.Tanh()],
    "normalised": [nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU()],
    "pools": [
        nn.Conv2d(6, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(6, 5, 3, padding=1),
        nn.AvgPool2d(2),
    ],
    "padded pools": [
        nn.MaxPool2d(3, 2, 1),
        nn.AvgPool2d(2, 1, 1),
        nn.Conv2d(6, 5, 3),
        nn.GELU(),
        nn.MaxPool2d(2, ceil_mode=True),
    ],
    "dilated pool": [nn.Conv2d(6, 5, 3, padding=2), nn.ReLU(), nn.MaxPool2d(2, stride=1, dilation=2)],
    "instance norm": [nn.Conv2d(6, 5, 3, padding=1), nn.InstanceNorm2d(5), nn.ReLU()],
}


@pytest.mark.parametrize("name", HEADS)
def test_other_heads(name: str) -> None:
    """Everything that is done to distinct rows and columns only, and what is not."""
    torch.manual_seed(0)
    body = {f"layer{i}": layer for i, layer in enumerate(HEADS[name])}
    model = nn.Sequential(_network(**body), nn.Flatten(), nn.Linear(5, 4)).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    unit = torch.rand(6, dtype=torch.float64) * 5
    scores = score_filters(model, "0.conv", (3, 13, 11), unit=unit)
    expected = algorithm_1(model, "0.conv", (6, 13, 11), unit)
    assert expected.abs().max() > 1e-4
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("layer", ["relu", "layer1", "layer3"])
def test_residual_network(layer: str) -> None:
    torch.manual_seed(0)
    model = torchvision.models.resnet18(num_classes=7).double().eval()
    size = tuple(split_at(model, layer).trunk(torch.zeros(1, 3, 32, 32, dtype=torch.float64)).shape[1:])
    scores = score_filters(model, layer, unit=3.0)[:, :3]
    head, one = split_at(model, layer).head, torch.zeros(4, *size, dtype=torch.float64)
    for k in range(3):
        one[k, k] = 3
    probabilities = head(one).softmax(1).detach()
    torch.testing.assert_close(scores, (probabilities[:3] - probabilities[3]).T, rtol=0, atol=1e-12)


def test_refusals(model: nn.Module) -> None:
    with pytest.raises(UserError, match="one for each of the 32 filters"):
        score_filters(model, "relu1", unit=torch.ones(31))
    with pytest.raises(UserError, match="finite"):
        score_filters(model, "relu1", unit=float("nan"))
    with pytest.raises(UserError, match="not maps"):
        score_filters(model, "flatten")
    with pytest.raises(UserError, match="at least 2 steps"):
        ramp(model, "relu1", steps=1)
    with pytest.raises(UserError, match="no layer 'relu4'"):
        score_layers(model, ["relu1", "relu4"])
