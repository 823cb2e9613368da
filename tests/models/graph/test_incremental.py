"""Changes carried through a network against the network run on changed values; float64."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, fx, nn

from tests.attribution.networks import assert_same, channels, locations, pictures, randomise, zeroed
from xcnn.errors import UserError
from xcnn.models import split_at
from xcnn.models.graph import (
    Change,
    Incremental,
    TracedNetwork,
    channel_change,
    channels_change,
    convolution,
    incremental,
    patch_change,
)


class Net(nn.Module):
    """Maps of 6 channels, an operation on them, a non-linear head."""

    def __init__(self, operation: Callable[[Tensor], Tensor], width: int) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 6, 3, padding=1)
        self.operation = operation
        self.after, self.classes = nn.Conv2d(width, 5, 3, padding=1), nn.Linear(5, 4)

    def forward(self, images: Tensor) -> Tensor:
        x = F.leaky_relu(self.after(self.operation(self.features(images))))
        return self.classes(x.mean((2, 3)))


class Block(nn.Module):
    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(6, 6, 3, stride, 1), nn.Conv2d(6, 6, 3, 1, 2, 2)
        self.norm, self.short = nn.BatchNorm2d(6), nn.Conv2d(6, 6, 1, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.relu(self.norm(self.first(x))))
        y += self.short(x)
        return self.relu(y)


class Dense(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(6), nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv(F.relu(self.norm(x)))], 1)


class Excitation(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Conv2d(6, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(F.adaptive_avg_pool2d(x, 1)).sigmoid()


class Gated(nn.Module):
    """Products and differences of several values at the same place."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.scale = nn.Conv2d(6, 6, (3, 1), padding=(1, 0)), nn.Parameter(torch.ones(6, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.wide(x)
        return (3 - y) * x.sigmoid() * self.scale + (x - y - x)


class Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


# The operation, its number of channels, and whether what follows it runs on whole values.
OPERATIONS: dict[str, tuple[Callable[[], nn.Module], int, bool]] = {
    "convolution": (lambda: nn.Conv2d(6, 7, 3), 7, False),
    "stride and dilation": (lambda: nn.Conv2d(6, 7, (3, 2), (2, 3), (1, 2), (1, 2)), 7, False),
    "stride above the kernel": (lambda: nn.Conv2d(6, 7, 1, 2), 7, False),
    "groups": (lambda: nn.Conv2d(6, 9, 3, padding=1, groups=3), 9, False),
    "depthwise": (lambda: nn.Conv2d(6, 12, 3, padding=1, groups=6), 12, False),
    "same, even kernel": (lambda: nn.Conv2d(6, 7, (2, 4), padding="same"), 7, False),
    "reflecting": (lambda: nn.Conv2d(6, 7, 3, padding=1, padding_mode="reflect"), 7, True),
    "transposed": (lambda: nn.ConvTranspose2d(6, 7, 3, 2), 7, True),
    "max": (lambda: nn.MaxPool2d(3, 2, 1), 6, False),
    "max to the ceiling": (lambda: nn.MaxPool2d((3, 2), 2, ceil_mode=True), 6, False),
    "max, dilated": (lambda: Function(lambda x: F.max_pool2d(x, 2, 1, 1, 2)), 6, False),
    "average": (lambda: nn.AvgPool2d(3, 2, 1), 6, False),
    "average to the ceiling": (lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True), 6, False),
    "average without padding": (lambda: nn.AvgPool2d(3, 2, 1, True, False), 6, False),
    "average, functional": (lambda: Function(lambda x: F.avg_pool2d(x, 3, stride=1, padding=1)), 6, False),
    "average, own divisor": (lambda: nn.AvgPool2d(2, divisor_override=3), 6, False),
    "adaptive": (lambda: nn.AdaptiveAvgPool2d((5, 4)), 6, True),
    "adaptive, same size": (lambda: nn.AdaptiveMaxPool2d((9, 11)), 6, False),
    "global": (lambda: nn.AdaptiveAvgPool2d(1), 6, False),
    "activations": (lambda: nn.Sequential(nn.PReLU(6), nn.GELU(), nn.Dropout(), nn.ReLU6()), 6, False),
    "residual": (lambda: nn.Sequential(Block(2), Block()), 6, False),
    "dense": (Dense, 9, False),
    "excitation": (Excitation, 6, True),
    "gated": (Gated, 6, False),
    "interpolation": (lambda: nn.Upsample(scale_factor=2), 6, True),
    "group norm": (lambda: nn.GroupNorm(2, 6), 6, True),
}


def net(name: str) -> nn.Module:
    torch.manual_seed(0)
    operation, width, _ = OPERATIONS[name]
    return randomise(Net(operation(), width))


@torch.no_grad()
def patched(model: nn.Module, layer: str, images: Tensor, patches: list[tuple[int, int, int, Tensor]]) -> Tensor:
    """By how much the logits change, (P, classes), with rectangles of new values (image, top, left, values)."""
    split = split_at(model, layer)
    features, changes = split.trunk(images), []
    for image, top, left, new in patches:
        changed = features[image : image + 1].clone()
        changed[0, :, top : top + new.shape[1], left : left + new.shape[2]] = new
        changes.append(split.head(changed) - split.head(features[image : image + 1]))
    return torch.cat(changes)


# What makes a change pass through a convolution tap by tap, gathered from all taps, or by Winograd's transform.
WAYS = {"taps": {"FEW": 0}, "gathered": {}, "winograd": {"FEW": 0, "MANY": 1, "WORTH": 99.0}}


@pytest.mark.parametrize(("way", "chunk"), [("taps", None), ("gathered", 3), ("winograd", 3)])
@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation(name: str, way: str, chunk: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Patches of 1 x 1 and 2 x 3 at all borders and inside, single channels, some channels; on 9 x 11 places."""
    for constant, value in WAYS[way].items():
        monkeypatch.setattr(convolution, constant, value)
    model, images = net(name), pictures(2, 9, 11)
    split = split_at(model, "features")
    features = split.trunk(images).detach()
    propagation = Incremental(split.network, split.cut).base(features)
    assert bool(propagation.whole) == OPERATIONS[name][2]
    for height, width in ((1, 1), (2, 3)):
        top = torch.tensor([0, 0, 4, 9 - height, 9 - height, 3, 5])
        left = torch.tensor([0, 11 - width, 5, 0, 11 - width, 2, 11 - width])
        image = torch.tensor([0, 0, 0, 0, 1, 1, 1])
        new = torch.randn(7, 6, height, width, dtype=torch.float64)
        found = propagation.deltas(
            7,
            lambda part, at=(image, top, left, new): patch_change(features, *(tensor[part] for tensor in at)),
            chunk,
        )
        patches = list(zip(image.tolist(), top.tolist(), left.tolist(), new, strict=True))
        assert_same(found, patched(model, "features", images, patches))
    image, channel = torch.arange(12) // 6, torch.arange(12) % 6
    found = propagation.deltas(12, lambda part: channel_change(features, image[part], channel[part]), chunk)
    expected = -zeroed(model, "features", images, channels(range(6))).transpose(1, 2).flatten(0, 1)
    assert_same(found, expected)
    some = torch.tensor([[True, False, True, True, False, False], [False] * 6])
    found = propagation.deltas(2, lambda part: channels_change(features, torch.tensor([1, 0])[part], some[part]), chunk)
    assert_same(found[:1], -zeroed(model, "features", images[1:], [([0, 2, 3],)])[..., 0])
    assert found[1].abs().max() < 1e-14


def test_the_value_of_a_channel_that_is_zero_in_most_places() -> None:
    """Only the rectangle around what is not zero changes; a dead channel changes nothing."""
    torch.manual_seed(0)
    model = randomise(Net(nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.ReLU()), 6))
    split = split_at(model, "features")
    features = torch.zeros(1, 6, 9, 11, dtype=torch.float64)
    features[0, 2, 3:5, 7:9] = torch.randn(2, 2, dtype=torch.float64)
    change = channel_change(features, torch.tensor([0, 0]), torch.tensor([2, 4]))
    assert [getattr(change.regions, side).tolist() for side in ("top", "left", "height", "width")] == [
        [3, 0],
        [7, 0],
        [2, 0],
        [2, 0],
    ]
    found = Incremental(split.network, split.cut).base(features).deltas(2, lambda part: change)
    assert_same(found[:1], (split.head(torch.zeros_like(features)) - split.head(features)).detach())
    assert not found[1].any()


def test_from_the_images_and_beside_them() -> None:
    """Patches of the image itself; and of a layer that does not cut the network, as the images are used again."""

    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.again = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(3, 6, 1, 2)
            self.rest = Net(Block(), 6)

        def forward(self, images: Tensor) -> Tensor:
            x = F.relu(self.stem(images)) + self.again(images)
            gate = self.again(images).mean((2, 3), keepdim=True)
            return self.rest.classes(F.relu(self.rest.after(F.softmax(x, 1) * gate)).mean((2, 3))[:, :5])

    torch.manual_seed(0)
    model, images = randomise(Beside()), pictures(2, 9, 12)
    network = TracedNetwork(model)
    image, top, left = torch.tensor([0, 1, 1]), torch.tensor([0, 4, 6]), torch.tensor([9, 0, 5])
    new = torch.zeros(3, 3, 3, 3, dtype=torch.float64)
    with torch.no_grad():
        occluded = images[image]
        for picture, y, x in zip(occluded, top.tolist(), left.tolist(), strict=True):
            picture[:, y : y + 3, x : x + 3] = 0
        expected = model(occluded) - model(images)[image]
    propagation = Incremental(network, network.placeholder).base(images)
    assert_same(propagation.deltas(3, lambda part: patch_change(images, image, top, left, new)), expected)

    (stem,) = [node for node in network.outputs["stem"] if node is not None]
    from_stem = Incremental(network, stem)
    value = model.stem(images).detach()  # type: ignore[operator]
    with pytest.raises(UserError, match="also depends on the images"):
        from_stem.base(value)
    new = torch.zeros(3, 6, 1, 1, dtype=torch.float64)
    found = from_stem.base(value, images).deltas(3, lambda part: patch_change(value, image, top // 2, left // 2, new))
    part: list[Tensor] = []
    hook = model.stem.register_forward_hook(lambda module, inputs, output: part[0] if part else None)  # type: ignore[operator, arg-type]
    with torch.no_grad():
        whole = model(images)[image]
        changed = value[image]
        changed[torch.arange(3), :, top // 2, left // 2] = 0
        part.append(changed)
        expected = model(images[image]) - whole
    hook.remove()
    assert_same(found, expected)


def test_patches_beyond_the_maps_are_refused() -> None:
    value, zero = torch.zeros(1, 2, 4, 5), torch.tensor([0])
    for top, left in ((-1, 0), (3, 0), (0, 4)):
        with pytest.raises(UserError, match="beyond the maps"):
            patch_change(value, zero, zero + top, zero + left, torch.zeros(1, 2, 2, 2))


def test_chunks_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """One patch is tried, then as many as fit; half as many where memory runs out; and an end to that."""
    model, images = net("residual"), pictures(1, 9, 11)
    split = split_at(model, "features")
    features = split.trunk(images).detach()
    propagation = Incremental(split.network, split.cut).base(features)
    image, limit = torch.zeros(6, dtype=torch.long), 6
    sizes: list[int] = []

    def change(part: slice) -> Change:
        sizes.append(len(image[part]))
        if sizes[-1] > limit:
            raise torch.OutOfMemoryError
        return channel_change(features, image[part], torch.arange(6)[part])

    expected = propagation.deltas(6, change)
    assert sizes == [1, 6]
    monkeypatch.setattr(incremental, "CHUNK_BYTES", 4 * 6 * 30 * 8)
    sizes.clear()
    torch.testing.assert_close(propagation.deltas(6, change), expected)
    assert sizes == [1, 4, 2]
    limit = 2
    sizes.clear()
    torch.testing.assert_close(propagation.deltas(6, change, chunk=5), expected)
    assert sizes == [5, 3, 2, 2, 2]
    limit = 0
    with pytest.raises(torch.OutOfMemoryError):
        propagation.deltas(6, change, chunk=2)


def test_the_first_whole_value_is_named() -> None:
    split = split_at(net("excitation"), "features")
    propagation = Incremental(split.network, split.cut).base(split.trunk(pictures(1, 9, 11)).detach())
    graph: fx.Graph = split.network.graph
    assert propagation.whole[0] == next(node.name for node in graph.nodes if node.name.startswith("mul"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "layer"),
    [
        (torchvision.models.resnet50, "layer3"),
        (torchvision.models.resnet50, "layer2"),
        (torchvision.models.vgg16, "features.23"),
        (torchvision.models.vgg16, "features.16"),
        (torchvision.models.densenet121, "features.transition3"),
        (torchvision.models.densenet121, "features.transition2"),
    ],
)
def test_networks(build: Callable[[], nn.Module], layer: str) -> None:
    """12 locations and 12 channels at random, at 224 px."""
    torch.manual_seed(0)
    with torch.device("meta"):
        model = build()
    model, images = randomise(model.to_empty(device="cpu")), pictures(1, 224, 224)
    split = split_at(model, layer)
    with torch.no_grad():
        features = split.trunk(images)
    propagation = Incremental(split.network, split.cut).base(features)
    height, width = features.shape[2:]
    some, where = torch.randperm(features.shape[1])[:12], torch.randperm(height * width)[:12]
    image, zeros = torch.zeros(12, dtype=torch.long), features.new_zeros(12, features.shape[1], 1, 1)
    places = [locations(height, width)[i] for i in where.tolist()]
    expected = -zeroed(model, layer, images, [*channels(some.tolist()), *places])[0].t()
    found = propagation.deltas(12, lambda part: channel_change(features, image[part], some[part]))
    assert_same(found, expected[:12])
    found = propagation.deltas(
        12,
        lambda part: patch_change(features, image[part], (where // width)[part], (where % width)[part], zeros[part]),
    )
    assert_same(found, expected[12:])
