"""Integrated gradients by hand, against captum's, and their completeness."""

import pytest
import torch
from captum.attr import IntegratedGradients as Oracle
from torch import Tensor, nn

from tests.attribution.backward.networks import Small, images, small
from tests.attribution.networks import assert_same, randomise
from xcnn.attribution import IntegratedGradients
from xcnn.errors import UserError


class Squares(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.square().flatten(1)


def test_by_hand() -> None:
    """y_i = x_i^2: one point of Gauss-Legendre is exact, and the Riemann sum of n points is 1 / n too large."""
    x = torch.tensor([3.0, -2.0, 1.0]).view(1, 3, 1, 1)
    assert IntegratedGradients(Squares(), 1).relevance(x, 1).flatten().tolist() == [0, 4, 0]
    riemann = IntegratedGradients(Squares(), 4, quadrature="riemann").relevance(x, 0)
    assert riemann.flatten().tolist() == [9 * 1.25, 0, 0]
    baselines = torch.tensor([[1.0, 0.0, 0.0], [2.0, 5.0, 0.0]]).view(2, 3, 1, 1)
    found = IntegratedGradients(Squares(), 1, baselines).relevance(x, 0)
    assert found.flatten().tolist() == pytest.approx([((9 - 1) + (9 - 4)) / 2, 0, 0])


def test_captum() -> None:
    """To the precision of captum's points of the path, which it forms in float32."""
    model, x, baselines = small(), images(), 0.3 * images(3)[2:]
    expected = Oracle(model).attribute(x, baselines, [1, 3], n_steps=20, method="gausslegendre")
    assert_same(IntegratedGradients(model, 20, baselines).relevance(x, [1, 3]), expected, 1e-6)
    right = Oracle(model).attribute(x, baselines, [1, 3], n_steps=20, method="riemann_right")
    assert_same(IntegratedGradients(model, 20, baselines, "riemann").relevance(x, [1, 3]), right, 1e-6)


def test_completeness() -> None:
    """On a smooth network the sum converges to the difference: fast by Gauss-Legendre, as 1 / steps by Riemann."""
    torch.manual_seed(0)
    model = randomise(nn.Sequential(nn.Conv2d(3, 6, 3), nn.GELU(), nn.Conv2d(6, 4, 3), nn.GELU(), nn.Flatten()))
    x, baseline = images(), images(3)[2:]

    def error(steps: int, quadrature: str) -> float:
        method = IntegratedGradients(model, steps, baseline, quadrature)  # type: ignore[arg-type]
        change = (method.logits(x) - method.logits(baseline))[:, 7]
        return ((method.relevance(x, 7).sum((1, 2, 3)) - change).abs() / change.abs()).max().item()

    assert error(32, "gauss_legendre") < 1e-11
    assert error(4, "gauss_legendre") > 1e-9  # the error was there to vanish
    assert 1.9 < error(16, "riemann") / error(32, "riemann") < 2.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, not 0"),
        ({"quadrature": "simpson"}, "quadrature is 'simpson'; choose gauss_legendre or riemann"),
        ({"baselines": torch.zeros(1, 3, 8, 8)}, r"baselines are \(1, 3, 8, 8\) for images .*pass \(B, 3, 16, 16\)"),
        ({"baselines": torch.zeros(3, 16, 16)}, r"baselines are \(3, 16, 16\)"),
        ({"baselines": torch.full((1, 3, 16, 16), torch.nan)}, "hold NaN or infinity"),
        ({"baselines": torch.zeros(0, 3, 16, 16)}, "baselines are none"),
    ],
)
def test_refusals(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        IntegratedGradients(small(Small), **options)(images())  # type: ignore[arg-type]
