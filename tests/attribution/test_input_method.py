"""What all methods that explain the input share: chunks, classes, refusals, and the user's network left as it was."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.attribution.backward.networks import Small, images, small
from tests.attribution.networks import assert_same
from xcnn.attribution import (
    LRP,
    DeconvNet,
    DeepLIFT,
    DeepTaylor,
    GradCAM,
    Gradient,
    GuidedBackprop,
    GuidedGradCAM,
    InputMethod,
    IntegratedGradients,
    Method,
    SmoothGrad,
)
from xcnn.attribution.method import Choice
from xcnn.errors import UserError

METHODS: dict[str, Callable[[nn.Module], InputMethod]] = {
    "gradient": Gradient,
    "deconvnet": DeconvNet,
    "guided_backprop": GuidedBackprop,
    "integrated_gradients": lambda model: IntegratedGradients(model, 2),
    "smooth_grad": lambda model: SmoothGrad(model, samples=2),
    "guided_grad_cam": lambda model: GuidedGradCAM(model, "average"),
    "lrp": LRP,
    "deep_taylor": DeepTaylor,
    "deep_lift": DeepLIFT,
}


@pytest.mark.parametrize("name", METHODS)
def test_calls(name: str) -> None:
    """Maps of the input's size; the same in chunks and for every class at once; the user's network left as it was."""
    model, x = small(), images(3)
    model.train()
    hook = model.stem.register_forward_hook(lambda *_: pytest.fail("a hook of the user's ran"))  # type: ignore[union-attr]
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    kept = x.clone()
    method = METHODS[name](model)
    relevance, maps = method.relevance(x, [1, 2, 0]), method(x, [1, 2, 0])
    assert relevance.shape == x.shape and maps.shape == (3, 16, 16) and relevance.abs().max() > 0
    assert_same(method.reduce(relevance), maps, 1e-12)
    assert_same(method.every_class(x)[torch.arange(3), [1, 2, 0]], relevance, 1e-12)
    method.chunk = 2
    assert_same(method.relevance(x, [1, 2, 0]), relevance, 1e-10)
    explanation = method.explain(x)
    each = method.explain_each(x, [[1, 2, 0], None, lambda logits: logits.argmax(1)])
    for one, expected in zip(each, (maps, explanation.maps, explanation.maps), strict=True):
        assert_same(one.maps, expected, 1e-10)
    assert torch.equal(explanation.targets, method.logits(x).argmax(1)) and explanation.maps.shape == (3, 16, 16)
    assert_same(explanation.maps, method(x, explanation.targets), 1e-10)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert_same(method(x.clone(), [1, 2, 0]), maps, 1e-10)
    hook.remove()
    assert model.training and all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items()) and torch.equal(x, kept)


@pytest.mark.parametrize("name", METHODS)
def test_float32(name: str) -> None:
    model, x = small(), images()
    exact = METHODS[name](model)(x, [1, 2])
    if name == "smooth_grad":  # the noise is drawn in float32 for all
        x = x.float().double()
        exact = METHODS[name](model)(x, [1, 2])
    found = METHODS[name](model.float())(x.float(), [1, 2])
    assert found.dtype == torch.float32
    assert (found - exact).norm() < 1e-3 * exact.norm()


def test_weights_are_followed() -> None:
    """A method reads the weights when it is called."""
    model, x = small(), images()
    method = LRP(model, "lrp_gamma")
    before = method(x, 1)
    with torch.no_grad():
        model.norm1.weight.neg_()  # type: ignore[operator, union-attr]
    after = method(x, 1)
    assert_same(after, LRP(model, "lrp_gamma")(x, 1), 1e-14)
    assert (after - before).abs().max() > 1e-3


def test_refusals() -> None:
    model, x = small(), images()
    for name in ("gradient", "lrp", "deep_lift"):
        method = METHODS[name](model)
        for call in (method, method.relevance, method.explain):
            with pytest.raises(UserError, match="target 5 is out of range: the network has classes 0 to 4"):
                call(x, 5)
            with pytest.raises(UserError, match=r"NaN or infinity in image\(s\) 1 of the batch"):
                call(x.index_fill(0, torch.tensor([1]), torch.nan), 1)
            with pytest.raises(UserError, match="pass a float tensor"):
                call(x[0], 1)
        with pytest.raises(UserError, match=r"images are torch.float32 .* weights torch.float64"):
            method(x.float())
    with pytest.raises(UserError, match="chunk must be at least 1, not 0"):
        Gradient(Small(), chunk=0)


@pytest.mark.parametrize("make", [Gradient, LRP, lambda model: GradCAM(model, "average")])
def test_several_targets_take_one_forward_pass(
    make: Callable[[nn.Module], Method], monkeypatch: pytest.MonkeyPatch
) -> None:
    method, calls, forward = make(small()), list[Tensor](), nn.Conv2d.forward
    monkeypatch.setattr(nn.Conv2d, "forward", lambda conv, z: calls.append(z) or forward(conv, z))
    method.explain(images(), 1)
    once = len(calls)
    method.explain_each(images(), [1, None, lambda logits: logits.argmin(1)])
    assert len(calls) == 2 * once > 0


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (7, "target 7 is out of range"),
        (lambda logits: logits.argmax(1) + 9, "is out of range"),
        (lambda logits: logits, "targets are torch.float64; pass class indices"),
        ([1], r"targets have shape \(1,\) for 2 images"),
    ],
)
def test_refusals_of_several_targets(target: Choice, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Gradient(small()).explain_each(images(), [1, target])


@pytest.mark.parametrize("name", ["gradient", "lrp"])
def test_chunks_are_halved_where_memory_runs_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass of more than two images runs out of memory; the maps are those of all at once."""
    model, x = small(), images(7)
    method = METHODS[name](model)
    expected, sizes, record = method.relevance(x, 1), list[int](), type(method).record

    def failing(self: InputMethod, images: torch.Tensor) -> object:
        sizes.append(len(images))
        if len(images) > 2:
            raise torch.OutOfMemoryError
        return record(self, images)

    monkeypatch.setattr(type(method), "record", failing)
    assert_same(method.relevance(x, 1), expected, 1e-10)
    assert sizes == [7, 4, 2, 2, 2, 1]
    assert_same(method(x, 1), method.reduce(expected), 1e-10)
    assert_same(method.every_class(x)[:, 1], expected, 1e-10)
    monkeypatch.setattr(type(method), "record", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError()))
    with pytest.raises(torch.OutOfMemoryError):
        method(x, 1)
