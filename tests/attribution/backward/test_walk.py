"""The reverse walk: operations of any form, several users of a value, what is kept, refusals."""

import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.attribution.backward.networks import Gated, Plain, Small, images, small
from tests.attribution.networks import assert_same, randomise
from xcnn.attribution import LRP, DeepLIFT, Gradient, WalkMethod
from xcnn.attribution.backward import Walk, read_composite
from xcnn.attribution.input_method import InputMethod
from xcnn.errors import UserError
from xcnn.models.graph import TracedNetwork


def walk_of(model: nn.Module, composite: str) -> Walk:
    return Walk(TracedNetwork(model), lambda call: read_composite(composite).choose(call, {}))


class Functional(nn.Module):
    """Convolutions, BatchNorm and poolings as functions, methods and operators, some with arguments by name."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(4, 3, 3, 3)), nn.Parameter(torch.ones(4))
        self.up = nn.ConvTranspose2d(4, 4, 2, 2)
        self.circular = nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")
        self.same = nn.Conv1d(4, 4, 3, padding="same")
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.weight, bias=self.bias, stride=2, padding=1)
        n = self.norm
        x = F.batch_norm(x, n.running_mean, n.running_var, n.weight, n.bias, training=False, eps=0.1)
        y = self.circular(self.up(F.adaptive_max_pool2d(x.relu(), 2)).clamp(min=0))
        x = F.interpolate(F.max_pool2d(x, kernel_size=2), size=(4, 4), mode="nearest") - 2 * y + 1
        first, second = torch.split(x, [1, 3], dim=1)
        x = torch.stack([second.flip(1).sum(1), first[:, 0], y[:, 2] / 3], 1)
        x = F.pad(x.transpose(2, 3), (0, 1)).mean(3, keepdim=True)
        x = self.head(torch.reshape(x, (x.shape[0], -1)))
        return operator.neg(self.same(x.unsqueeze(2).expand(-1, -1, 5)).permute(0, 2, 1)[:, 1] + x)


@pytest.mark.parametrize("kind", [Small, Gated, Functional, Plain])
def test_the_gradient(kind: type[nn.Module]) -> None:
    """The walk by plain derivatives is autograd's gradient, whatever form an operation has."""
    model, x = small(kind), images()
    found = WalkMethod(model, "gradient").relevance(x, [1, 2])
    assert_same(found, Gradient(model).relevance(x, [1, 2]), 1e-12)


@pytest.mark.parametrize("kind", [Small, Gated, Functional])
@pytest.mark.parametrize("rule", ["rescale", "reveal_cancel"])
def test_operations_keep_the_difference(kind: type[nn.Module], rule: Any) -> None:
    model, x, baseline = small(kind), images(), 0.5 * images(3)[2:] + 0.2
    method = DeepLIFT(model, rule, baseline)
    change = method.logits(x) - method.logits(baseline)
    found = method.every_class(x).sum((2, 3, 4))
    torch.testing.assert_close(found, change, rtol=1e-11, atol=1e-12)


def test_one_value_in_two_places_of_an_operation() -> None:
    class Twice(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x = x.flatten(1)
            return x + x + torch.cat([x, x], 1)[:, :12] + (x * x)

    x = torch.randn(2, 3, 2, 2, dtype=torch.float64)
    start = torch.randn(2, 12, dtype=torch.float64)
    found = walk_of(Twice(), "gradient").forward(x).send(start)[0]
    assert_same(found.flatten(1), start * (3 + 2 * x.flatten(1)), 1e-12)


def test_one_part_of_a_tuple_in_two_places() -> None:
    class Halves(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            halves = x.flatten(1).chunk(2, 1)
            return halves[0] + 3 * halves[0] + halves[1]

    x, start = torch.randn(2, 3, 2, 2, dtype=torch.float64), torch.randn(2, 6, dtype=torch.float64)
    found = walk_of(Halves(), "gradient").forward(x).send(start)[0]
    assert_same(found.flatten(1), torch.cat([4 * start, start], 1), 1e-12)


@pytest.mark.parametrize("kind", [Small, Gated])
def test_sum_of_products_and_bias_shares_is_the_logit(kind: type[nn.Module]) -> None:
    """sum a m + sum b m = y for LRP-0; for LRP-epsilon with what epsilon takes."""
    model, x = small(kind), images()
    for composite, eps in (("lrp_0", 0.0), ("lrp_epsilon", 1e-6)):
        taken: list[Tensor] = []

        def watch(call: Any, m: Tensor, values: Any, sent: Any, eps: float = eps, taken: list[Tensor] = taken) -> None:
            if call.linear is not None or call.norm is not None:
                if eps and call.linear is not None:
                    z = values.output
                    share = m * z / (z + torch.where(z < 0, -eps, eps))
                    taken.append((z * (m - share)).flatten(1).sum(1))
                    m = share
                taken.append((values.linear.bias(m) * m).flatten(1).sum(1))
            if call.kind == "layer_norm" and values.argument(3, "bias") is not None:
                taken.append((values.argument(3, "bias").detach() * m).flatten(1).sum(1))
            if call.kind == "group_norm" and values.argument(3, "bias") is not None:
                taken.append(m.sum((2, 3)) @ values.argument(3, "bias").detach())

        recorded = walk_of(model, composite).forward(x)
        m, _ = recorded.send(watch=watch)
        total = (x * m).flatten(1).sum(1) + torch.stack(taken).sum(0)
        torch.testing.assert_close(total, recorded.score, rtol=1e-12, atol=1e-12)


def test_what_a_pass_kept_is_freed_by_its_last_walk() -> None:
    """And with it what the reference's pass kept; a walk after that is refused."""
    model, x = small(), images()
    for composite in ("lrp_epsilon", "deep_lift_rescale"):
        walk = walk_of(model, composite)
        recorded, reference = walk.forward(x), walk.forward(0.3 * x[:1])
        expected = recorded.send(reference=reference)[0]
        assert torch.equal(recorded.send(reference=reference, keep=False)[0], expected)
        assert not recorded.values
        assert not reference.values
        with pytest.raises(UserError, match=r"freed by an earlier walk; give that one keep=True"):
            recorded.send()


@pytest.mark.parametrize("make", [LRP, Gradient, partial(DeepLIFT, baselines=torch.zeros(2, 3, 16, 16).double())])
def test_a_pass_is_attributed_once_or_again(make: Callable[[nn.Module], InputMethod]) -> None:
    """What it kept is freed, so that the largest steps, those of the first layers, find the memory free."""
    method = make(small())
    batch = method.record(images())
    batch.again = True
    found = [method.attribute(batch)]
    batch.again = False
    found.append(method.attribute(batch))
    assert torch.equal(*found)
    with pytest.raises((UserError, RuntimeError), match="freed"):
        method.attribute(batch)


def test_only_masks_and_indices_are_kept() -> None:
    """LRP-0 and guided backpropagation hold a byte for each ReLU's value, and 4 for each maximum."""
    model, x = small(), images()
    for composite in ("lrp_0", "guided_backprop"):
        recorded = walk_of(model, composite).forward(x)
        held = {name for values in recorded.values.values() for name in vars(values)}
        assert held.isdisjoint({"inputs", "output", "before"})
        masks = [v.active for v in recorded.values.values() if "active" in vars(v)]
        places = [v.indices for v in recorded.values.values() if "indices" in vars(v)]
        assert len(masks) == 6 and {mask.dtype for mask in masks} == {torch.bool}
        assert len(places) == 2 and {index.dtype for index in places} == {torch.int32}


def test_what_the_graph_says() -> None:
    walk = walk_of(small(), "lrp_gamma")
    by_place = {call.place: call for call in walk.calls if call.kind in ("convolution", "linear")}
    positions = {place: set(call.positions) for place, call in by_place.items() if call.positions}
    assert positions == {"stem": {"first"}, "last": {"last"}}
    assert not by_place["stem"].nonnegative and by_place["stem"].masked
    assert by_place["conv1"].nonnegative and by_place["conv1"].masked
    assert by_place["conv2"].nonnegative and not by_place["conv2"].masked  # an addition takes it
    assert by_place["hidden"].nonnegative and not by_place["last"].masked
    assert not any(call.kind == "batch_norm" and call.place != "before" for call in walk.calls)


def test_a_result_that_not_only_a_relu_takes_is_not_masked() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            z = self.layer(x)
            return (z.relu() + z).flatten(1)

    assert not any(call.masked for call in walk_of(Both(), "lrp_gamma").calls if call.kind == "convolution")


@pytest.mark.parametrize("constant", ["number", "parameter", "scaled"])
def test_a_constant_may_make_values_negative(constant: str) -> None:
    """relu(x) - 1 is of either sign, in whatever form the constant is stated; without one it is not negative."""

    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.shift = nn.Conv2d(3, 4, 3), nn.Parameter(-torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            x, y = x.relu(), x.relu()
            if constant == "scaled":
                return self.layer(torch.add(x, y, alpha=-1)).flatten(1)
            return self.layer(x + (-1.0 if constant == "number" else self.shift)).flatten(1)

    (found,) = (call for call in walk_of(Shifted(), "lrp_gamma").calls if call.kind == "convolution")
    assert not found.nonnegative
    plain = nn.Sequential(nn.ReLU(), nn.Conv2d(3, 4, 3), nn.Flatten())
    assert all(call.nonnegative for call in walk_of(plain, "lrp_gamma").calls if call.kind == "convolution")


class Softmax(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention()

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x.flatten(1))


class Attention(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("nc,nc->nc", x, x)


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


def test_operations_without_a_rule() -> None:
    for kind in (LRP, DeepLIFT):
        with pytest.raises(UserError, match=r"no rule for einsum \(einsum.*in layer 'attention'\).*use Gradient"):
            kind(Softmax())
    message = r"'guided_backprop' has no rule for hardswish \(hardswish.*the rules are .*guided_slope"
    with pytest.raises(UserError, match=message):
        WalkMethod(small(Gated), "guided_backprop")
    opaque = nn.Sequential(nn.Conv2d(3, 3, 1), Branching(), nn.Flatten())
    with pytest.raises(UserError, match=r"no rule for opaque \(opaque_1"):
        LRP(opaque)
    with pytest.raises(UserError, match="no rule for sigmoid"):
        LRP(nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.Sigmoid()))


class Attending(nn.Module):
    def __init__(self, module: bool) -> None:
        super().__init__()
        self.block = nn.MultiheadAttention(4, 2, batch_first=True) if module else Weighing()

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(2)
        return (
            self.block(x, x, x, need_weights=False)[0]
            if isinstance(self.block, nn.MultiheadAttention)
            else self.block(x)
        ).flatten(1)


class Weighing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.softmax(2) + x


def test_attention_is_refused_with_its_place_and_what_serves() -> None:
    serves = "use Gradient, IntegratedGradients or SmoothGrad, which need no rules"
    for kind in (LRP, DeepLIFT):
        with pytest.raises(UserError, match=rf"no rule for multiheadattention \(.*in layer 'block'\).*{serves}"):
            kind(Attending(module=True))
        with pytest.raises(UserError, match=rf"no rule for softmax \(softmax, in layer 'block'\).*{serves}"):
            kind(Attending(module=False))
    for module in (True, False):
        assert Gradient(Attending(module)).relevance(torch.rand(2, 3, 2, 2), 1).abs().max() > 0


@pytest.mark.parametrize("composite", ["lrp_epsilon", "lrp_gamma", "lrp_alpha1_beta0", "epsilon_gamma_box"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_precisions(composite: str, dtype: torch.dtype) -> None:
    model, x = small(), images()
    exact = LRP(model, composite).relevance(x, [1, 2])
    found = LRP(model.to(dtype), composite).relevance(x.to(dtype), [1, 2])
    assert found.dtype == torch.float32
    error = (found - exact).norm() / exact.norm()
    assert error < (1e-3 if dtype == torch.float32 else 0.5)


def test_a_network_that_ignores_its_images() -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.logits = nn.Parameter(torch.arange(4.0))

        def forward(self, x: Tensor) -> Tensor:
            return self.logits.expand(x.shape[0], -1)

    x = torch.rand(2, 3, 4, 4)
    for method in (LRP(Constant()), Gradient(Constant())):
        assert torch.equal(method.relevance(x), torch.zeros_like(x))


def test_linear_layers_on_sequences() -> None:
    """A linear layer acts on the last dimension."""
    torch.manual_seed(0)
    model = randomise(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2), nn.Flatten()))
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    for composite in ("lrp_alpha1_beta0", "lrp_gamma"):
        found = LRP(model, composite, bias="ignore").relevance(x, 7)
        assert found.abs().sum() > 0 and torch.equal(found.abs().sum((0, 3)) > 0, torch.eye(12).bool()[3].view(3, 4))
