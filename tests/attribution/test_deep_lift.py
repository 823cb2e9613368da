"""DeepLIFT by hand, against captum's where that is right, and its sum to the difference."""

import pytest
import torch
from captum.attr import DeepLift
from torch import Tensor, nn

from tests.attribution.backward.networks import Gated, Plain, Small, images, small
from tests.attribution.networks import assert_same, randomise
from tests.attribution.test_lrp import sequence
from xcnn.attribution import DeepLIFT, Gradient
from xcnn.errors import UserError


class Minimum(nn.Module):
    """min(x1, x2) = x1 - relu(x1 - x2), the AND of the original paper."""

    def __init__(self) -> None:
        super().__init__()
        self.difference = nn.Linear(2, 1, bias=False)
        self.difference.weight.data = torch.tensor([[1.0, -1.0]])

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return x[:, :1] - torch.relu(self.difference(x))


def contributions(model: nn.Module, rule: str, values: list[float], baseline: list[float] | None = None) -> list[float]:
    x = torch.tensor(values).view(1, 1, 1, -1)
    reference = None if baseline is None else torch.tensor(baseline).view(1, 1, 1, -1)
    return DeepLIFT(model, rule, reference).relevance(x).flatten().tolist()  # type: ignore[arg-type]


def test_minimum() -> None:
    """Half of the minimum to each by RevealCancel, all of it to the smaller one by rescale."""
    for values in ([10.0, 6.0], [6.0, 10.0]):
        assert contributions(Minimum(), "reveal_cancel", values) == pytest.approx([3, 3])
        assert contributions(Minimum(), "rescale", values) == pytest.approx([6.0 * (v == 6) for v in values])
    assert contributions(Minimum(), "rescale", [5.0, 5.0]) == [5, 0]  # the ReLU's input is 0, and was


class TwoUnits(nn.Module):
    """y = 2 relu(3 x1 - 2 x2 + 1) - relu(-x1 + x2 + x3)."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(3, 2), nn.Linear(2, 1, bias=False)
        self.hidden.weight.data = torch.tensor([[3.0, -2.0, 0.0], [-1.0, 1.0, 1.0]])
        self.hidden.bias.data = torch.tensor([1.0, 0.0])
        self.out.weight.data = torch.tensor([[2.0, -1.0]])

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(self.hidden(x.flatten(1))))


def test_two_units() -> None:
    """At (1, 3, 1) from 0.

    Unit 1: z0 = 1, dz+ = 3, dz- = -6. dy+ = ((4 - 1) + (0 - 0)) / 2 = 1.5, dy- = ((0 - 1) + (0 - 4)) / 2 = -2.5.
    Unit 2: z0 = 0, dz+ = 3 + 1, dz- = -1. dy+ = ((4 - 0) + (3 - 0)) / 2 = 3.5, dy- = ((0 - 0) + (3 - 4)) / 2 = -0.5.
    """
    found = contributions(TwoUnits(), "reveal_cancel", [1.0, 3.0, 1.0])
    assert found == pytest.approx([2 * 1.5 - -0.5, 2 * -2.5 - 3.5 * 3 / 4, -3.5 / 4])
    # Rescale: slopes (0 - 1) / (-2 - 1) = 1/3 and 1.
    assert contributions(TwoUnits(), "rescale", [1.0, 3.0, 1.0]) == pytest.approx([3 * 2 / 3 + 1, -6 * 2 / 3 - 3, -1])


def test_two_units_from_another_baseline() -> None:
    """At (1, 3, 1) from (0, 3, 2): dx = (1, 0, -1).

    Unit 1: z0 = -5, dz+ = 3, dz- = 0: nothing. Unit 2: z0 = 5, dz+ = 0, dz- = -1 - 1: dy- = -2.
    """
    found = contributions(TwoUnits(), "reveal_cancel", [1.0, 3.0, 1.0], [0.0, 3.0, 2.0])
    assert found == pytest.approx([1, 0, 1])


@pytest.mark.parametrize("kind", [Small, Gated, Plain])
@pytest.mark.parametrize("rule", ["rescale", "reveal_cancel"])
def test_the_difference_of_the_logits(kind: type[nn.Module], rule: str) -> None:
    model, x = small(kind), images()
    baselines = 0.5 * images(4)[2:] + 0.2
    method = DeepLIFT(model, rule, baselines)  # type: ignore[arg-type]
    found = method.relevance(x, [1, 3]).sum((1, 2, 3))
    change = method.logits(x)[[0, 1], [1, 3]] - method.logits(baselines)[:, [1, 3]].mean(0)
    torch.testing.assert_close(found, change, rtol=1e-12, atol=1e-13)
    each = [DeepLIFT(model, rule, baseline).relevance(x, [1, 3]) for baseline in baselines.split(1)]  # type: ignore[arg-type]
    assert_same(method.relevance(x, [1, 3]), torch.stack(each).mean(0), 1e-12)


def test_the_gradient_times_the_difference_on_linear_networks() -> None:
    model, x, baseline = small(lambda: Plain(relu=False)), images(), images(3)[2:]
    expected = Gradient(model).relevance(x, [1, 3]) * (x - baseline)
    for rule in ("rescale", "reveal_cancel"):
        assert_same(DeepLIFT(model, rule, baseline).relevance(x, [1, 3]), expected, 1e-12)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [Small, Gated])
def test_an_image_that_is_its_baseline(kind: type[nn.Module]) -> None:
    """Nothing differs: no contributions, and multipliers that are the gradient."""
    model, x = small(kind), images(1)
    for rule in ("rescale", "reveal_cancel"):
        method = DeepLIFT(model, rule, x)  # type: ignore[arg-type]
        assert torch.equal(method.relevance(x, 1), torch.zeros_like(x))
    walk = DeepLIFT(model, "rescale").walk
    recorded = walk.forward(x)
    recorded.targets[:] = 1
    assert_same(recorded.send(reference=walk.forward(x))[0], Gradient(model).relevance(x, 1), 1e-12)


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks")
def test_captum() -> None:
    """On a network in which every ReLU is a module of its own, and no maximum is taken."""
    model, x, baseline = sequence()[:3], images(), 0.3 * images(3)[2:]
    model = nn.Sequential(*model, nn.AvgPool2d(2), *sequence()[4:])
    expected = DeepLift(model).attribute(x.clone(), baseline, [1, 3]).detach()
    assert_same(DeepLIFT(model, "rescale", baseline).relevance(x, [1, 3]), expected, 1e-8)


def test_positive_and_negative_parts_against_loops() -> None:
    """RevealCancel of a random layer, term by term, with differences that are 0."""
    torch.manual_seed(0)
    model = randomise(nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 1, bias=False)))
    x, x0 = torch.randn(6, dtype=torch.float64), torch.randn(6, dtype=torch.float64)
    x0[2] = x[2]
    first, last = model[1], model[3]  # type: ignore[index]
    expected = torch.zeros(6, dtype=torch.float64)
    for weight, bias, out in zip(first.weight.detach(), first.bias.detach(), last.weight.detach()[0], strict=True):
        terms = weight * (x - x0)
        up, down, z0 = terms.clamp(min=0).sum(), terms.clamp(max=0).sum(), weight @ x0 + bias
        f = torch.relu
        rise = (f(z0 + up) - f(z0) + f(z0 + up + down) - f(z0 + down)) / 2
        fall = (f(z0 + down) - f(z0) + f(z0 + up + down) - f(z0 + up)) / 2
        expected += out * torch.where(terms > 0, terms / up * rise, terms / down * fall)
    found = DeepLIFT(model, "reveal_cancel", x0.view(1, 1, 2, 3)).relevance(x.view(1, 1, 2, 3), 0)
    assert_same(found.flatten(), expected, 1e-12)


def test_refusals() -> None:
    with pytest.raises(UserError, match="rule is 'linear'; choose one of rescale, reveal_cancel"):
        DeepLIFT(small(), "linear")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"baselines are \(1, 3, 8, 8\) for images \(2, 3, 16, 16\)"):
        DeepLIFT(small(), baselines=torch.zeros(1, 3, 8, 8))(images())
