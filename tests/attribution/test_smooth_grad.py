"""SmoothGrad on functions whose mean is known, and its noise."""

import functools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.attribution.backward.networks import images, small
from tests.attribution.networks import assert_same, randomise
from xcnn.attribution import LRP, Gradient, IntegratedGradients, SmoothGrad
from xcnn.attribution.input_method import InputMethod
from xcnn.errors import UserError


class Cubes(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x**3).sum((2, 3))


def test_the_mean_of_a_known_function() -> None:
    """The gradient 3 x^2 becomes 3 (x^2 + sigma^2), with sigma a share of the image's own range."""
    x = torch.zeros(1, 1, 100, 100, dtype=torch.float64)
    x[..., :50] = 2.0
    found = SmoothGrad(Cubes(), samples=30, noise=0.1)(x)
    assert found[..., :50].mean().item() == pytest.approx(3 * (4 + 0.2**2), rel=2e-3)
    assert found[..., 50:].mean().item() == pytest.approx(3 * 0.2**2, rel=2e-2)


def test_without_noise_it_is_the_method() -> None:
    model, x = small(), images()
    for method in (Gradient, functools.partial(LRP, composite="lrp_gamma"), functools.partial(Gradient, kind="sum")):
        found = SmoothGrad(model, method, samples=2, noise=0.0)
        assert_same(found.relevance(x), method(model).relevance(x), 1e-12)
        assert_same(found(x), method(model)(x), 1e-12)


@pytest.mark.parametrize(
    "method",
    [
        SmoothGrad,
        IntegratedGradients,
        functools.partial(SmoothGrad, method=functools.partial(Gradient, kind="input_times")),
    ],
)
def test_passes_go_through_folded_batch_norms(
    method: Callable[[nn.Module], InputMethod], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pass for the logits is the network's own; all others know no BatchNorm, and find the same relevance."""
    model = randomise(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()))
    calls: list[Tensor] = []
    original = nn.BatchNorm2d.forward
    monkeypatch.setattr(nn.BatchNorm2d, "forward", lambda norm, z: calls.append(z) or original(norm, z))
    found = method(model).relevance(images(), 1)
    assert len(calls) == 1
    monkeypatch.setattr("xcnn.models.fold.Folded.__call__", lambda folded: (nn.Identity(), folded.network))
    assert_same(method(model).relevance(images(), 1), found, 1e-12)
    assert len(calls) > 20


@pytest.mark.parametrize(("method", "calls"), [(SmoothGrad, 25), (IntegratedGradients, 2)])
def test_the_first_convolution_is_transposed_once(
    method: type[InputMethod], calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is run for each noisy image, but for the two ends of a path only; and once for the logits, once transposed."""
    model = randomise(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.GELU(), nn.Flatten()))
    recorded: list[bool] = []
    original = nn.Conv2d.forward

    def forward(conv: nn.Conv2d, z: Tensor) -> Tensor:
        recorded.append(torch.is_grad_enabled())
        return original(conv, z)

    monkeypatch.setattr(nn.Conv2d, "forward", forward)
    method(model).relevance(images(), 1)
    assert (recorded.count(True), recorded.count(False)) == (1, calls + 1)


def test_noise_is_the_images_own() -> None:
    """The same in any batch, another for another seed, and the class is that of the clean image."""
    model, x = small(), images(3)
    method = SmoothGrad(model, samples=3, noise=0.8)
    assert_same(method(x)[2:], method(x[2:]), 1e-10)
    targets = method.logits(x).argmax(1)
    assert_same(method(x), method(x, targets), 1e-12)
    assert (method(x) - SmoothGrad(model, samples=3, noise=0.8, seed=1)(x)).abs().max() > 1e-3
    assert method.explain(x).ablations.tolist() == [3, 3, 3]


def test_refusals() -> None:
    for options in ({"samples": 0}, {"noise": -0.1}):
        with pytest.raises(UserError, match=r"give at least 1, and a share of at least 0"):
            SmoothGrad(small(), **options)  # type: ignore[arg-type]
