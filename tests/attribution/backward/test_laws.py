"""The laws of the backward rules in float64 on large networks. `pytest -m slow -s` prints each law's error."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.attribution.backward.networks import LARGE, images, large, without_biases
from xcnn.attribution import LRP, DeconvNet, DeepLIFT, Gradient, GuidedBackprop, WalkMethod
from xcnn.attribution.backward import Recorded

OTHER = ("mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "efficientnet_b0", "convnext_tiny")
RELU = [name for name in LARGE if name not in (*OTHER, "timm/seresnet33ts", "timm/resnet50_gn")]
FAST = ("resnet18", "conv3")
TARGETS = [1, 3]


def relative(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).abs().max() / expected.abs().max()).item()


def shares(recorded: Recorded, epsilon: float = 0.0) -> Tensor:
    """sum a m + sum b m (N,), with what epsilon takes."""
    taken: list[Tensor] = []

    def watch(call: Any, m: Tensor, values: Any, sent: Any) -> None:
        if call.linear is not None or call.norm is not None:
            if epsilon and call.linear is not None:
                z = values.output
                share = m * z / (z + torch.where(z < 0, -1.0, 1.0).to(z) * epsilon)
                taken.append((z * (m - share)).flatten(1).sum(1))
                m = share
            taken.append((values.linear.bias(m) * m).flatten(1).sum(1))
        if call.kind == "layer_norm":
            taken.append((values.argument(3, "bias").detach() * m).flatten(1).sum(1))
        elif call.kind == "group_norm":
            taken.append(m.sum((2, 3)) @ values.argument(3, "bias").detach())

    multiplier, _ = recorded.send(watch=watch)
    return (recorded.images * multiplier).flatten(1).sum(1) + torch.stack(taken).sum(0)


def recorded(method: WalkMethod, x: Tensor) -> Recorded:
    found = method.walk.forward(x)
    found.targets = torch.tensor(TARGETS)
    return found


def laws(name: str) -> dict[str, float]:
    """The error of each law, relative to the greatest value."""
    model = large(name)
    x, baseline = images(2, LARGE[name][1]), 0.3 * images(3, LARGE[name][1])[2:] + 0.1
    found: dict[str, float] = {}
    logits = model(x).detach()
    change = (logits - model(baseline).detach())[[0, 1], TARGETS]
    plain = WalkMethod(model, "gradient").relevance(x, TARGETS)
    found["walk by derivatives = autograd"] = relative(plain, Gradient(model).relevance(x, TARGETS))
    for composite, epsilon in (("lrp_0", 0.0), ("lrp_epsilon", 1e-6)):
        pass_ = recorded(LRP(model, composite), x)
        found[f"{composite}: sum a m + sum b m = y"] = relative(shares(pass_, epsilon), pass_.score)
    for rule in ("rescale", "reveal_cancel"):
        sums = DeepLIFT(model, rule, baseline).relevance(x, TARGETS).sum((1, 2, 3))  # type: ignore[arg-type]
        found[f"{rule}: sum to the difference"] = relative(sums, change)
    if name in RELU:
        model = without_biases(model)
        products = Gradient(model, "input_times").relevance(x, TARGETS)
        found["lrp_0 = input x gradient"] = relative(LRP(model, "lrp_0").relevance(x, TARGETS), products)
        sums = LRP(model, "lrp_0").relevance(x, TARGETS).sum((1, 2, 3))
        found["lrp_0: sum = y"] = relative(sums, model(x).detach()[[0, 1], TARGETS])
    return found


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in LARGE]
)
def test_laws(name: str) -> None:
    for law, error in laws(name).items():
        print(f"{name}: {law}: {error:.1e}")
        assert error < 1e-9, law


@pytest.mark.slow
@pytest.mark.parametrize("kind", [GuidedBackprop, DeconvNet])
@pytest.mark.parametrize("name", [*RELU, "mobilenet_v2"])
def test_guided_and_deconvnet_run(name: str, kind: Callable[[nn.Module], WalkMethod]) -> None:
    """What flows back from a positive start is stopped nowhere but at ReLUs; the result is finite and not nothing."""
    model, x = large(name), images(1, LARGE[name][1])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_().mul_(0.5 if name == "mobilenet_v2" else 1)  # larger, every ReLU6 would be at 6
    found = kind(model).relevance(x, 1)
    assert found.isfinite().all() and found.abs().max() > 0 and (found >= 0).all()
    if kind is GuidedBackprop:
        assert relative(found, Gradient(model).relevance(x, 1)) < 1e-9
