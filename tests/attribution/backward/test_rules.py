"""Each rule of LRP against the dense Jacobian of a small layer, and rules of activations by hand."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.attribution.networks import assert_same, randomise
from xcnn.attribution.backward import RULES, Choice, Composite, Walk, read_composite, rules
from xcnn.attribution.backward.rules import over
from xcnn.models.graph import TracedNetwork

Dense = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def _epsilon(a: Tensor, w: Tensor, b: Tensor, z: Tensor, r: Tensor, absorb: bool = True) -> Tensor:
    total = z if absorb else z - b
    return (w * a / (total + 0.01 * torch.where(total < 0, -1.0, 1.0).to(a))[:, None] * r[:, None]).sum(0)


def _alpha_beta(alpha: float, beta: float, absorb: bool = True) -> Dense:
    def dense(a: Tensor, w: Tensor, b: Tensor, z: Tensor, r: Tensor) -> Tensor:
        products, b = w * a, b * absorb
        up, down = products.clamp(min=0), products.clamp(max=0)
        above, below = up.sum(1) + b.clamp(min=0), down.sum(1) + b.clamp(max=0)
        shares = alpha * up / above.where(above > 0, 1)[:, None] - beta * down / below.where(below < 0, 1)[:, None]
        return (shares * r[:, None]).sum(0)

    return dense


def _gamma(a: Tensor, w: Tensor, b: Tensor, z: Tensor, r: Tensor) -> Tensor:
    result = torch.zeros_like(a)
    for j in range(len(z)):
        terms = torch.cat([w[j] * a, b[j : j + 1]])
        amplified = terms + 0.25 * (terms.clamp(min=0) if z[j] > 0 else terms.clamp(max=0))
        result += amplified[:-1] / amplified.sum() * r[j]
    return result


def _box(a: Tensor, w: Tensor, b: Tensor, z: Tensor, r: Tensor) -> Tensor:
    terms = w * a - w.clamp(min=0) * -4 - w.clamp(max=0) * 5
    return (terms / terms.sum(1, keepdim=True) * r[:, None]).sum(0)


def _shares(power: int) -> Dense:
    def dense(a: Tensor, w: Tensor, b: Tensor, z: Tensor, r: Tensor) -> Tensor:
        weights = w.abs() ** power * (w != 0)
        return (weights / weights.sum(1, keepdim=True) * r[:, None]).sum(0)

    return dense


LRP_RULES: dict[str, tuple[str, dict[str, Any], Dense]] = {
    "transpose": ("transpose", {}, lambda a, w, b, z, r: (w * a * (r / z)[:, None]).sum(0)),
    "epsilon": ("epsilon", {"epsilon": 0.01}, _epsilon),
    "epsilon without bias": (
        "epsilon",
        {"epsilon": 0.01, "bias": "ignore"},
        lambda *dense: _epsilon(*dense, absorb=False),
    ),
    "alpha 2, beta 1": ("alpha_beta", {"alpha": 2.0, "beta": 1.0}, _alpha_beta(2, 1)),
    "alpha 3, beta 2 without bias": (
        "alpha_beta",
        {"alpha": 3.0, "beta": 2.0, "bias": "ignore"},
        _alpha_beta(3, 2, False),
    ),
    "z+": ("z_plus", {}, _alpha_beta(1, 0)),
    "z+ without bias": ("z_plus", {"bias": "ignore"}, _alpha_beta(1, 0, False)),
    "gamma": ("gamma", {"gamma": 0.25}, _gamma),
    "box": ("box", {"low": -4.0, "high": [5.0, 5.0]}, _box),
    "squares": ("squares", {}, _shares(2)),
    "flat": ("flat", {}, _shares(0)),
}


def layer(convolution: bool, nonnegative: bool, masked: bool) -> nn.Sequential:
    """A layer with a BatchNorm, or a linear one without, between ReLUs where asked; its outputs are the logits."""
    torch.manual_seed(3)
    inside = (
        [nn.Conv2d(2, 4, 3, 2, 1, groups=2), nn.BatchNorm2d(4)] if convolution else [nn.Flatten(), nn.Linear(32, 6)]
    )
    model = nn.Sequential(*([nn.ReLU()] * nonnegative), *inside, *([nn.ReLU()] * masked), nn.Flatten())
    randomise(model)
    with torch.no_grad():
        if convolution:
            inside[1].weight.sub_(0.5)  # type: ignore[operator, union-attr]
            assert (inside[1].weight < 0).any()  # the fold turns signs
    return model


@pytest.mark.parametrize("name", LRP_RULES)
@pytest.mark.parametrize("shape", list(itertools.product((False, True), repeat=3)))
@pytest.mark.parametrize("few", [0, 64])
def test_dense_jacobian(name: str, shape: tuple[bool, bool, bool], few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "FEW", few)  # so that sides are formed in both ways
    rule, options, dense = LRP_RULES[name]
    _, nonnegative, masked = shape
    model = layer(*shape)
    x = torch.randn(2, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    chosen = Choice(RULES[rule], ("convolution", "linear"), options=options)
    composite = Composite("mine", (chosen, *read_composite("lrp_0").choices))
    recorded = Walk(TracedNetwork(model), lambda call: composite.choose(call, {})).forward(x)
    start = torch.rand_like(recorded.logits) - 0.3
    multiplier, relevance = recorded.send(start)
    found = x * multiplier + relevance

    inside = model[nonnegative : nonnegative + 2]
    a = x.relu() if nonnegative else x
    z = inside(a).flatten(1).detach()
    zero = inside(torch.zeros_like(a[:1])).flatten().detach()
    jacobian = torch.autograd.functional.jacobian(lambda values: inside(values[None])[0].flatten(), a[0]).flatten(1)
    kept = (z > 0) if masked else torch.ones_like(z)
    expected = torch.stack(
        [dense(a[n].flatten(), jacobian, zero, z[n], start[n] * z[n] * kept[n]).view(2, 4, 4) for n in range(2)]
    )
    if nonnegative and rule in ("squares", "flat", "box"):  # relevance of a at 0 has no multiple of a to go to
        expected = expected * (a > 0)
    assert_same(found, expected, 1e-11)


def test_an_empty_side_takes_nothing() -> None:
    """Where no product is negative, alpha-beta gives alpha R, and rounding is not taken for a negative part."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.ReLU(), nn.Conv2d(1, 2, 3), nn.Flatten()).double()
    with torch.no_grad():
        model[1].weight.uniform_(0.1, 1)  # type: ignore[operator, union-attr]
        model[1].bias.fill_(0.3)  # type: ignore[operator, union-attr]
    x = torch.rand(1, 1, 7, 7, dtype=torch.float64)
    for leading in (model, model[1:]):
        walk = Walk(TracedNetwork(leading), lambda call: read_composite("lrp_alpha2_beta1").choose(call, {}))
        recorded = walk.forward(x)
        found = (x * recorded.send(torch.ones_like(recorded.logits))[0]).sum()
        torch.testing.assert_close(found, 2 * (recorded.logits - 0.3).sum(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("nonnegative", [False, True])
def test_a_side_of_next_to_nothing(nonnegative: bool) -> None:
    """Products 1 and -1e-13: the negative side is no rounding of the difference of two sums."""
    model = nn.Sequential(*([nn.ReLU()] * nonnegative), nn.Flatten(), nn.Linear(2, 1, bias=False)).double()
    with torch.no_grad():
        model[-1].weight.copy_(torch.tensor([[1.0, -1e-13]]))  # type: ignore[operator, union-attr]
    x = torch.ones(1, 1, 1, 2, dtype=torch.float64)
    walk = Walk(TracedNetwork(model), lambda call: read_composite("lrp_alpha2_beta1").choose(call, {}))
    found = x * walk.forward(x).send()[0]
    assert found.flatten().tolist() == pytest.approx([2, -1], rel=1e-10)


def test_a_box_s_rounding_takes_nothing() -> None:
    """At the lower bound but for the last digit, w a - l w is the rounding of w a and l w, each of which is 1."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 1, bias=False))
    with torch.no_grad():
        model[1].weight.fill_(1.0)  # type: ignore[operator, union-attr]
    chosen = Choice(RULES["box"], ("linear",), options={"low": -1.0, "high": 1.0})
    composite = Composite("mine", (chosen, *read_composite("lrp_0").choices))
    walk = Walk(TracedNetwork(model), lambda call: composite.choose(call, {}))
    eps = torch.finfo(torch.float32).eps
    for distance, taken in ((eps, 0.0), (0.5, -0.5)):
        x = torch.full((1, 1, 1, 1), distance - 1)
        multiplier, relevance = walk.forward(x).send()
        assert (x * multiplier + relevance).item() == pytest.approx(taken)


def test_over() -> None:
    numerator, denominator = torch.tensor([1.0, 1.0, 1.0]), torch.tensor([2.0, 0.0, 1e-7])
    assert (numerator / rules._beyond_zero(denominator.clone())).tolist() == [0.5, 0, pytest.approx(1e7)]
    assert over(numerator, -denominator, torch.ones(3)).tolist() == [pytest.approx(-0.5), 0, 0]


def through(model: nn.Module, composite: str, x: Tensor, start: Tensor) -> Tensor:
    walk = Walk(TracedNetwork(model), lambda call: read_composite(composite).choose(call, {}))
    return walk.forward(x).send(start)[0]


def test_activations_by_hand() -> None:
    x = torch.tensor([[-2.0, 0.0, 1.0, 7.0]], dtype=torch.float64)
    start = torch.tensor([[1.0, 2.0, -3.0, 4.0]], dtype=torch.float64)

    def found(activation: nn.Module, composite: str) -> list[float]:
        return through(activation, composite, x, start)[0].tolist()

    assert found(nn.ReLU(), "lrp_0") == [0, 0, -3, 4]
    assert found(nn.ReLU(), "guided_backprop") == [0, 0, 0, 4]
    assert found(nn.ReLU(), "deconvnet") == [1, 2, 0, 4]
    assert found(nn.ReLU6(), "lrp_0") == [0, 0, -3, pytest.approx(4 * 6 / 7)]
    assert found(nn.ReLU6(), "guided_backprop") == [0, 0, 0, 0]
    assert found(nn.LeakyReLU(0.5), "lrp_0") == [0.5, 1, -3, 4]
    assert found(nn.Hardswish(), "lrp_0") == [pytest.approx(1 / 6), 1, -2, 4]
    assert found(nn.SiLU(), "lrp_0") == pytest.approx((start * torch.sigmoid(x))[0].tolist())
    assert found(nn.Mish(), "lrp_0") == pytest.approx((start * F.softplus(x).tanh())[0].tolist())
    normal = torch.distributions.Normal(0.0, 1.0).cdf(x)
    assert found(nn.GELU(), "lrp_0") == pytest.approx((start * normal)[0].tolist())
    tanh = nn.GELU("tanh")(x) / x
    expected = torch.where(x == 0, 0.5, tanh) * start
    assert found(nn.GELU("tanh"), "lrp_0") == pytest.approx(expected[0].tolist())
    for activation in (nn.SiLU(), nn.GELU(), nn.Tanh(), nn.Hardswish(), nn.Softplus()):
        leaf = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(activation(leaf), leaf, start)
        assert found(activation, "gradient") == pytest.approx(gradient[0].tolist())
        clamped = gradient / start * start.clamp(min=0)
        assert found(activation, "guided_backprop_all") == pytest.approx(clamped[0].tolist())


def test_overlapping_windows_add_up() -> None:
    """A maximum of several windows gets the sum of their multipliers."""
    x = torch.tensor([[[[1.0, 5.0, 2.0, 0.0]]]])
    model = nn.Sequential(nn.MaxPool2d((1, 2), 1), nn.Flatten())
    assert through(model, "lrp_0", x, torch.tensor([[10.0, 20.0, 40.0]])).flatten().tolist() == [0, 30, 40, 0]


def test_layer_norm_keeps_its_deviation() -> None:
    torch.manual_seed(0)
    norm, x = randomise(nn.LayerNorm(6)), torch.randn(2, 6, dtype=torch.float64)
    start = torch.randn(2, 6, dtype=torch.float64)
    leaf = x.clone().requires_grad_()
    deviation = (x.var(1, correction=0, keepdim=True) + norm.eps).sqrt()  # type: ignore[operator]
    centred = norm.weight * (leaf - leaf.mean(1, keepdim=True)) / deviation  # type: ignore[operator]
    assert_same(through(norm, "lrp_0", x, start), torch.autograd.grad(centred, leaf, start)[0].detach())
    assert_same(through(norm, "gradient", x, start), torch.autograd.grad(norm(leaf), leaf, start)[0])


def test_group_norm_keeps_its_deviation() -> None:
    torch.manual_seed(0)
    norm, x = randomise(nn.GroupNorm(2, 4)), torch.randn(2, 4, 3, 3, dtype=torch.float64)
    model = nn.Sequential(norm, nn.Flatten())
    start = torch.randn(2, 36, dtype=torch.float64)
    leaf = x.clone().requires_grad_()
    rows = leaf.view(2, 2, 18)
    deviation = (rows.detach().var(2, correction=0, keepdim=True) + norm.eps).sqrt()  # type: ignore[operator]
    normed = ((rows - rows.mean(2, keepdim=True)) / deviation).view(2, 4, 3, 3)
    scaled = (normed * norm.weight[:, None, None]).flatten(1)  # type: ignore[index]
    assert_same(through(model, "lrp_0", x, start), torch.autograd.grad(scaled, leaf, start)[0].detach())
