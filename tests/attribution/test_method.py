"""The call that all methods share: forms of input, precisions, errors, and a model that is left as it was."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
import torchvision
from torch import Tensor, nn

from tests.attribution.networks import headed, pictures, randomise
from xcnn.attribution import (
    CAM,
    AblationCAM,
    AblationCAMPlusPlus,
    ActivationSum,
    Batch,
    Centre,
    GradCAM,
    GradCAMPlusPlus,
    LayerMethod,
    Method,
    PixelAblationCAM,
    Probe,
    Random,
    ScoreCAM,
    normalise,
    upsample,
)
from xcnn.errors import UserError
from xcnn.models import conv3

METHODS: dict[str, Callable[[nn.Module, str], Method]] = {
    "cam": CAM,
    "grad_cam": GradCAM,
    "grad_cam_plus_plus": GradCAMPlusPlus,
    "ablation_cam": AblationCAM,
    "ablation_cam norm": lambda model, layer: AblationCAM(model, layer, relative="norm"),
    "ablation_cam_plus_plus": lambda model, layer: AblationCAMPlusPlus(model, layer, groups=4),
    "pixel_ablation_cam": PixelAblationCAM,
    "pixel_ablation_cam author": lambda model, layer: PixelAblationCAM(model, layer, variant="author"),
    "pixel_ablation_cam drop": lambda model, layer: PixelAblationCAM(model, layer, variant="drop"),
    "score_cam": ScoreCAM,
    "random": Random,
    "centre": Centre,
    "activation_sum": ActivationSum,
}
# A head for each way of asking it; CAM is for the first alone.
ASKED = ("gap, linear", "max-pool, linear, relu", "convolution, relu")
CASES = [(name, head) for name in METHODS for head in ASKED if name != "cam" or head == "gap, linear"]


@pytest.mark.parametrize(("name", "head"), CASES)
def test_batch_is_one_by_one(name: str, head: str) -> None:
    """Any batch size, pictures that are not square; targets for each, for all, and predicted."""
    model, images = headed(head), pictures(3, 4, 7)
    method = METHODS[name](model, "features")
    with torch.no_grad():
        logits = model(images)
    result = method.explain(images)
    assert torch.equal(result.targets, logits.argmax(1)) and result.maps.ndim == 3 and len(result.maps) == 3
    assert result.maps.dtype == torch.float64 and not result.maps.requires_grad
    torch.testing.assert_close(result.logits, logits, rtol=1e-10, atol=1e-10)
    targets = torch.tensor([4, 0, 3])
    maps = method(images, targets)
    for index in range(3):
        alone = method(images[index : index + 1], int(targets[index]))
        torch.testing.assert_close(alone[0], maps[index], rtol=1e-8, atol=1e-9 * maps.abs().max().item())
    assert torch.equal(method(images, [4, 0, 3]), maps)
    assert torch.equal(method(images, logits.argmax(1)), result.maps)
    assert torch.equal(method(images, torch.tensor(2)), method(images, [2, 2, 2]))
    if name not in ("random", "centre", "activation_sum"):
        assert not torch.equal(method(images, [4, 0, 3]), method(images, [0, 4, 2]))


@pytest.mark.parametrize(("name", "head"), CASES)
def test_several_targets_are_one_by_one(name: str, head: str) -> None:
    model, images = headed(head), pictures(3, 4, 7)
    method = METHODS[name](model, "features")
    found = method.explain_each(images, [[4, 0, 3], None, lambda logits: logits.argmin(1), 2])
    least = method.logits(images).argmin(1)
    for one, targets in zip(found, ([4, 0, 3], None, least, 2), strict=True):
        alone = method.explain(images, targets)
        assert torch.equal(one.targets, alone.targets) and torch.equal(one.ablations, alone.ablations)
        for name in ("maps", "logits", "nonpositive"):
            torch.testing.assert_close(getattr(one, name), getattr(alone, name), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("name", "head"), [(name, head) for name, head in CASES if head != ASKED[2]])
def test_precisions(name: str, head: str) -> None:
    """float32 close to float64, bfloat16 roughly; channels_last is a layout and nothing else."""
    model, images = headed(head).bfloat16().double(), pictures(2, 4, 7).bfloat16().double()  # all of it in all of them

    def maps(model: nn.Module, images: Tensor) -> Tensor:
        return METHODS[name](model, "features")(images, 3)

    exact = maps(model, images)
    close = {"rtol": 0, "atol": 1e-4 * exact.abs().max().item(), "check_dtype": False}
    single = maps(model.float(), images.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single, exact, **close)
    layout = torch.channels_last
    torch.testing.assert_close(
        maps(model.to(memory_format=layout), images.float().to(memory_format=layout)), exact, **close
    )
    half = maps(model.bfloat16(), images.bfloat16())
    assert half.dtype == torch.float32 and half.shape == exact.shape and half.isfinite().all()
    if head == "gap, linear" and name != "ablation_cam_plus_plus":  # whose groups a rounding changes
        torch.testing.assert_close(half, exact, rtol=0, atol=0.1 * exact.abs().max().item(), check_dtype=False)


@pytest.mark.parametrize("name", METHODS)
def test_autocast(name: str) -> None:
    """The trunk in half precision, what follows in the weights' own; whatever precision they and the images have."""
    images = pictures(2, 4, 7).bfloat16().float()
    method = METHODS[name](headed("gap, linear").float(), "features")
    exact = method(images, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result, low = method.explain(images, 3), method(images.bfloat16(), 3)
    assert result.maps.dtype == result.logits.dtype == torch.float32
    for maps in (result.maps, low):
        torch.testing.assert_close(maps, exact, rtol=0, atol=0.1 * exact.abs().max().item())
    for dtype in (torch.bfloat16, torch.float64):
        method = METHODS[name](headed("gap, linear").to(dtype), "features")
        with torch.autocast("cpu", dtype=torch.bfloat16):
            maps = method(images.to(dtype), 3)
        assert maps.shape == exact.shape and maps.isfinite().all()


def settings() -> Iterator[tuple[str, AbstractContextManager]]:
    yield "no_grad", torch.no_grad()
    yield "inference_mode", torch.inference_mode()
    yield "enable_grad", torch.enable_grad()


@pytest.mark.parametrize("name", METHODS)
def test_whatever_the_callers_mode(name: str) -> None:
    images = pictures(2, 4, 7)
    method = METHODS[name](headed("gap, linear"), "features")
    expected, of_targets = method(images), method(images, [1, 2])
    for _, mode in settings():
        with mode:
            assert torch.equal(method(images.clone()), expected)  # under inference_mode, an inference tensor
            assert torch.equal(method(images.clone(), torch.tensor([1, 2])), of_targets)
    assert torch.equal(method(images.clone().requires_grad_()), expected)
    if isinstance(method, AblationCAM | PixelAblationCAM):
        expected = method.every_class(images)
        with torch.inference_mode():
            assert torch.equal(method.every_class(images.clone()), expected)
            assert method.weights(images.clone()).shape[0] == 2


def state(model: nn.Module) -> dict[str, object]:
    """Everything that a careless method would change."""
    return {
        "tensors": {key: (id(value), value._version) for key, value in model.state_dict(keep_vars=True).items()},
        "values": {key: value.clone().numpy().tobytes() for key, value in model.state_dict().items()},
        "gradients": {
            key: None if p.grad is None else (id(p.grad), p.grad.numpy().tobytes())
            for key, p in model.named_parameters()
        },
        "modules": {
            key: {name: id(value) for name, value in vars(m).items()}
            | {name: list(value) for name, value in vars(m).items() if "hooks" in name}
            | {"training": m.training}
            for key, m in model.named_modules()
        },
        "requires": {key: p.requires_grad for key, p in model.named_parameters()},
    }


class Broken(LayerMethod):
    """Fails when it has used everything."""

    uses_gradient = True

    def attribute(self, probe: Probe) -> Tensor:
        probe.gradient.sum()
        probe.channel_drops()
        raise KeyError("in the middle")


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", [*METHODS, "broken"])
def test_the_model_is_left_as_it_was(name: str, training: bool) -> None:
    model = randomise(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(True), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    )
    model.extend([nn.Dropout(), nn.Linear(4, 10).double()])
    model.train(training)
    model[0].train(not training)
    model[0].weight.requires_grad_(False)
    model[1].weight.grad = torch.full_like(model[1].weight, 0.5)  # others have none
    fired: list[str] = []
    model[2].register_forward_hook(lambda *_: fired.append("forward"))
    model.register_full_backward_hook(lambda *_: fired.append("backward"))
    before, images = state(model), pictures(2, 8, 12)
    kept, random = images.clone(), torch.get_rng_state()
    method = (METHODS | {"broken": Broken})[name](model, "2")
    with pytest.raises(KeyError, match="in the middle") if name == "broken" else nullcontext():
        method(images, [1, 2])
    for wrong in (10, [1], 0.5):
        with pytest.raises(UserError):
            method(images, wrong)  # type: ignore[arg-type]
    assert state(model) == before and not fired
    assert torch.equal(images, kept) and images.grad is None and torch.equal(torch.get_rng_state(), random)


def test_an_exception_inside_the_head_leaves_the_model() -> None:
    class Fails(nn.Module):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            if len(x) > 2:  # not traceable, so that it runs whole; ablations come in larger batches
                raise RuntimeError("broken head")
            return x

    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), Fails(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).train()
    before = state(model)
    method = AblationCAM(model, "1")
    with pytest.raises(RuntimeError, match="broken head"):
        method(torch.rand(1, 3, 8, 8))
    assert state(model) == before


@pytest.mark.parametrize("name", METHODS)
def test_two_threads_explain_with_one_model(name: str) -> None:
    model, images = headed("gap, linear"), pictures(4, 4, 7)
    one = METHODS[name](model, "features")
    expected = one(images)
    wrong: list[object] = []

    def explain(part: slice) -> None:
        try:
            mine = METHODS[name](model, "features")
            for method in (one, mine) * 5:
                torch.testing.assert_close(method(images[part]), expected[part], rtol=1e-8, atol=1e-9)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=explain, args=(part,)) for part in (slice(0, 2), slice(2, 4))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("images", "targets", "message"),
    [
        (torch.rand(3, 8, 8), None, r"images are torch.float32 \(3, 8, 8\); pass a float tensor \(N, C, H, W\)"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), None, r"images are torch.uint8 .* normalised"),
        ([[0.0]], None, "images are list"),
        (torch.rand(2, 3, 8, 8), 10, "target 10 is out of range: the network has classes 0 to 9"),
        (torch.rand(2, 3, 8, 8), [3, -1], "target -1 is out of range"),
        (torch.rand(2, 3, 8, 8), [3], r"targets have shape \(1,\) for 2 images: pass one class for each, or one"),
        (torch.rand(2, 3, 8, 8), [1, 2, 3], r"targets have shape \(3,\) for 2 images"),
        (torch.rand(2, 3, 8, 8), torch.zeros(2, 10).long(), r"targets have shape \(2, 10\) for 2 images"),
        (torch.rand(2, 3, 8, 8), [1.0, 2.0], "targets are torch.float32; pass class indices"),
        (torch.rand(2, 3, 8, 8), torch.tensor([True, False]), "targets are torch.bool"),
        (torch.rand(2, 3, 8, 8).index_fill(0, torch.tensor([1]), torch.nan), 3, r"NaN or infinity .* image\(s\) 1 of"),
        (torch.full((2, 3, 8, 8), torch.inf), 3, r"at 'relu3' .* image\(s\) 0, 1 of"),
    ],
)
def test_wrong_input(images: Tensor, targets: Tensor, message: str) -> None:
    method = AblationCAM(conv3(), "relu3")
    for call in (method, method.explain, method.probe, method.weights):
        with pytest.raises(UserError, match=message):
            call(images, targets)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("layer5", "no layer 'layer5'. Layers that can be cut: layer"),
        ("layer1.0.conv1", "does not cut the network.* Nearest layers that can be cut: 'maxpool', 'layer1.0'"),
        ("layer4.1.relu", "called 2 times. Nearest layers that can be cut"),
    ],
)
def test_layers_that_cannot_be_cut(layer: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        GradCAM(torchvision.models.resnet18(), layer)


def test_layers_without_maps_and_networks_without_classes() -> None:
    with pytest.raises(UserError, match=r"'flatten' gives \(2, 128\), not maps .*: cut before the pooling"):
        GradCAM(conv3(), "flatten")(torch.rand(2, 3, 8, 8))
    with pytest.raises(UserError, match=r"output has shape \(2, 128, 1, 1\); \(N, classes\) is needed"):
        GradCAM(conv3()[:-2], "relu3")(torch.rand(2, 3, 8, 8))
    with pytest.raises(UserError, match="chunk must be at least 1, not 0"):
        AblationCAM(conv3(), "relu3", chunk=0)


def test_a_map_that_is_not_finite() -> None:
    class Infinite(LayerMethod):
        def attribute(self, probe: Probe) -> Tensor:
            return probe.features.sum(1) / 0

    with pytest.raises(UserError, match="Infinite gave a map with NaN or infinity at layer 'relu3'"):
        Infinite(conv3(), "relu3")(torch.rand(2, 3, 8, 8))


def test_logits_that_are_not_positive_are_flagged() -> None:
    """Drops keep their sign: what the class would gain by an ablation is negative whatever the sign of its score."""
    model, images = headed("gap, linear"), pictures(3, 4, 7)
    with torch.no_grad():
        logits = model(images)
        model.only.bias -= logits[1, 2]  # class 2 of image 1 at exactly 0
        logits = model(images)
    result = PixelAblationCAM(model, "features", variant="drop").explain(images, 2)
    assert torch.equal(result.nonpositive, logits[:, 2] <= 0) and result.nonpositive[1]
    assert torch.equal(result.targets, torch.full((3,), 2)) and result.maps.isfinite().all()
    features = AblationCAM(model, "features").probe(images).features
    drops = torch.einsum("nkhw,k->nhw", features, model.only.weight[2]) / 28
    assert torch.equal(result.maps.sign(), drops.sign())
    with torch.no_grad():
        model.only.bias -= 1e3
    below = PixelAblationCAM(model, "features", variant="drop").explain(images, 2)
    assert below.nonpositive.all() and torch.equal(below.maps.sign(), drops.sign())


def test_logits_are_the_networks() -> None:
    model, images = headed("overlapping pool"), pictures(2, 4, 7)
    logits = GradCAM(model, "features").logits(images)
    torch.testing.assert_close(logits, model(images).detach(), rtol=1e-12, atol=1e-12)
    assert not logits.requires_grad


def test_upsample_by_hand() -> None:
    """Bilinear, with the corners of pixels aligned and not their centres."""
    maps = torch.tensor([[[0.0, 4.0]], [[1.0, 1.0]]])
    assert upsample(maps, (1, 4)).tolist() == [[[0, 1, 3, 4]], [[1, 1, 1, 1]]]
    assert upsample(maps, [2, 2]).tolist() == [[[0, 4], [0, 4]], [[1, 1], [1, 1]]]


def test_normalise_by_hand() -> None:
    maps = torch.tensor([[[-1.0, 0.0], [1.0, 3.0]], [[2.0, 2.0], [2.0, 2.0]]])
    assert normalise(maps).tolist() == [[[0, 0.25], [0.5, 1]], [[0, 0], [0, 0]]]


@pytest.mark.parametrize("kind", [GradCAM, AblationCAM, PixelAblationCAM])
def test_autocast_under_inference_mode(kind: type[Method]) -> None:
    """What an evaluation loop does: the trunk in bfloat16, gradients of the head all the same."""
    torch.manual_seed(0)
    network, images = torchvision.models.resnet18(num_classes=5).eval(), torch.randn(2, 3, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        expected = kind(network, "layer4")(images)
        with torch.inference_mode():
            found = kind(network, "layer4")(images.clone())
    assert torch.equal(found, expected) and found.dtype == torch.float32


class Brightness(Method):
    """A method without a layer: the absolute gradient of the score, summed over the colours."""

    def maps(self, batch: Batch) -> Tensor:
        images = batch.images.detach().requires_grad_()
        with torch.enable_grad():
            score = self.network(images).gather(1, batch.targets[:, None]).sum()
        batch.ablations += 1
        return torch.autograd.grad(score, images)[0].abs().sum(1)


def test_a_method_without_a_layer() -> None:
    model, images = headed("convolution, relu"), pictures(2, 4, 7)
    hook = model.features.register_forward_hook(lambda *_: pytest.fail("a hook of the user's ran"))
    method = Brightness(model.train())
    before, kept = state(model), images.clone()
    found = method.explain(images, [1, 2])
    hook.remove()
    x = images.clone().requires_grad_()
    logits = model.eval()(x)
    (gradient,) = torch.autograd.grad(logits[0, 1] + logits[1, 2], x)
    torch.testing.assert_close(found.maps, gradient.abs().sum(1))
    torch.testing.assert_close(found.logits, logits.detach())
    assert found.targets.tolist() == [1, 2] and found.ablations.tolist() == [1, 1]
    model.train()
    model.features.register_forward_hook(lambda *_: None)
    assert before["tensors"] == state(model)["tensors"] and torch.equal(images, kept)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
        assert torch.equal(method(images.clone(), [1, 2]), found.maps)
        assert torch.equal(method.logits(images.clone()), found.logits)
    predicted = method.explain(images)
    assert torch.equal(predicted.targets, logits.argmax(1)) and predicted.maps.dtype == torch.float64
    for wrong, message in ((9, "target 9 is out of range"), ([1], "one class for each"), (0.5, "pass class indices")):
        with pytest.raises(UserError, match=message):
            method(images, wrong)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"NaN or infinity in the logits, for image\(s\) 1 of"):
        method(images.index_fill(0, torch.tensor([1]), torch.nan))
    with pytest.raises(UserError, match=r"output has shape \(2, 128, 1, 1\); \(N, classes\) is needed"):
        Brightness(conv3()[:-2])(torch.rand(2, 3, 8, 8))


def test_images_of_another_type_than_the_weights() -> None:
    images = torch.rand(2, 3, 8, 8)
    for method in (Brightness(conv3().bfloat16()), GradCAM(conv3().bfloat16(), "relu3")):
        for call in (method, method.logits):
            with pytest.raises(
                UserError, match=r"images are torch.float32 .* weights torch.bfloat16 .*images.to\('cpu', "
            ):
                call(images)
        assert method(images.bfloat16()).dtype == torch.float32
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert method(images).isfinite().all()
