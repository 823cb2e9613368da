"""Exact ablation: every way of asking a head against the network run with that part of the layer at zero."""

from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import Tensor, nn

from tests.attribution.networks import (
    HEADS,
    assert_same,
    channels,
    headed,
    locations,
    network,
    pictures,
    randomise,
    zeroed,
)
from xcnn.attribution import AblationCAM, PixelAblationCAM, Probe
from xcnn.attribution import probe as module
from xcnn.models import conv3
from xcnn.models.split import Split

TARGETS = [3, 1]


def ask(model: nn.Module, layer: str, images: Tensor, chunk: int | None = None, head: bool = False) -> Probe:
    """A probe, which runs the head on every ablation if told so."""
    method = AblationCAM(model, layer, chunk=chunk)
    if head:
        method.incremental = None
    return method.probe(images, TARGETS)


def of_targets(losses: Tensor) -> Tensor:
    return torch.stack([loss[target] for loss, target in zip(losses, TARGETS, strict=True)])


@pytest.mark.parametrize("head", [False, True])
@pytest.mark.parametrize("name", HEADS)
def test_every_kind_of_head(name: str, head: bool) -> None:
    """All channels, locations and some groups, of one class and of all, on maps whose poolings leave a border out."""
    model, images = headed(name), pictures(2, 4, 7)
    probe = ask(model, "features", images, head=head)
    with torch.no_grad():
        assert_same(probe.logits, model(images))
    expected = zeroed(model, "features", images, channels(range(6)))
    assert_same(probe.channel_drops(), of_targets(expected))
    assert_same(probe.channel_drops(every_class=True), expected)
    expected = zeroed(model, "features", images, locations(4, 7)).unflatten(2, (4, 7))
    assert_same(probe.location_drops(), of_targets(expected))
    assert_same(probe.location_drops(every_class=True), expected)
    groups = torch.tensor([[0, 1, 0, 2, 1, 0], [1, 1, 1, 1, 0, 1]])
    asked = torch.zeros(2, 6, dtype=torch.bool)
    asked[0, :2] = asked[1, 0] = True
    drops = probe.group_drops(groups, asked)
    expected = zeroed(model, "features", images, [([0, 2, 5],), ([1, 4],), ([4],)])
    by_hand = torch.zeros(2, 6, dtype=torch.float64)
    by_hand[0, 0], by_hand[0, 1], by_hand[1, 0] = expected[0, 3, 0], expected[0, 3, 1], expected[1, 1, 2]
    assert_same(drops, by_hand)
    assert probe.ablations.tolist() == [2 * 6 + 2 * 28 + 2, 2 * 6 + 2 * 28 + 1]


@pytest.mark.parametrize("name", ["max-pool, linear, relu", "overlapping pool", "convolution, relu", "excitation"])
def test_chunks_and_batches_of_one_change_nothing(name: str) -> None:
    model, images = headed(name), pictures(2, 4, 7)
    probe, single = ask(model, "features", images), ask(model, "features", images, chunk=1)
    assert_same(single.channel_drops(), probe.channel_drops())
    assert_same(single.location_drops(every_class=True), probe.location_drops(every_class=True))
    alone = AblationCAM(model, "features").probe(images[1:], TARGETS[1])
    assert_same(alone.channel_drops(), probe.channel_drops()[1:])
    assert_same(alone.location_drops(), probe.location_drops()[1:])


@pytest.mark.parametrize("size", [(1, 1), (5, 4), (6, 9)])
@pytest.mark.parametrize("name", [name for name, (_, places, _) in HEADS.items() if places == 1 and "over" not in name])
def test_odd_sizes(name: str, size: tuple[int, int]) -> None:
    if name in ("squared pools", "two pools, linear, relu"):
        size = (7, 5)  # 4 x 4 locations make the one place; the rest is left out
    model, images = headed(name), pictures(2, *size)
    probe = ask(model, "features", images)
    assert_same(probe.channel_drops(), of_targets(zeroed(model, "features", images, channels(range(6)))))
    expected = zeroed(model, "features", images, locations(*size)).unflatten(2, size)
    assert_same(probe.location_drops(), of_targets(expected))
    if size == (7, 5):
        assert expected[:, :, :4, :4].count_nonzero() > 0 == probe.location_drops()[:, 4:].count_nonzero()


@pytest.mark.parametrize(
    ("name", "layer", "size"),
    [
        ("vgg16", "features.30", (70, 96)),  # 2 x 3, which the adaptive pooling repeats
        ("vgg16", "features.28", (70, 96)),
        ("vgg16", "features.30", (224, 232)),  # 7 x 7: products into the first linear layer
        ("vgg16", "features.28", (232, 240)),  # 14 x 15, whose last column the max-pooling leaves out
        ("vgg16", "features.29", (232, 240)),
        ("vgg16", "features.23", (96, 70)),
        ("conv3", "relu3", (18, 24)),
        ("conv3", "conv3", (18, 24)),
        ("conv3", "pool1", (12, 16)),
        ("small resnet", "layer4", (64, 96)),
        ("small resnet", "layer3", (64, 96)),
        ("small densenet", "features", (64, 96)),
        ("small densenet", "features.transition2", (64, 96)),
        ("resnet18", "layer4", (64, 96)),
        ("densenet121", "features", (64, 64)),
    ],
)
def test_networks(name: str, layer: str, size: tuple[int, int]) -> None:
    """A few channels and locations of real networks at their last layers and at an earlier one."""
    model, images = network(name), pictures(1, *size)
    probe = AblationCAM(model, layer).probe(images, TARGETS[:1])
    count, (height, width) = probe.features.shape[1], probe.features.shape[2:]
    generator = torch.Generator().manual_seed(2)
    some = torch.randperm(count, generator=generator)[:5].tolist()
    places = locations(height, width)
    where = [*torch.randperm(len(places) - 1, generator=generator)[:3].tolist(), len(places) - 1]
    found = zeroed(model, layer, images, [*channels(some), *(places[i] for i in where)])[:, TARGETS[0]]
    assert_same(probe.channel_drops()[:, some], found[:, :5])
    assert_same(probe.location_drops().flatten(1)[:, where], found[:, 5:])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "layer", "size"),
    [
        (torchvision.models.resnet50, "layer4", 224),
        (torchvision.models.resnet50, "layer3", 224),
        (torchvision.models.vgg16, "features.30", 224),
        (torchvision.models.vgg16, "features.29", 224),
        (torchvision.models.vgg16, "features.23", 224),
        (torchvision.models.densenet121, "features", 224),
        (torchvision.models.densenet121, "features.transition3", 224),
        (conv3, "relu3", 32),
        (conv3, "relu2", 32),
    ],
)
def test_full_networks(build: Callable[[], nn.Module], layer: str, size: int) -> None:
    """The weights of both methods, of all channels and locations; some of each are zeroed in the network."""
    torch.manual_seed(0)
    with torch.device("meta"):
        model = build()
    model, images, target = randomise(model.to_empty(device="cpu")), pictures(1, size, size), 3
    by_channel = AblationCAM(model, layer).weights(images, target)[0]
    by_location = PixelAblationCAM(model, layer).weights(images, target)[0]
    generator = torch.Generator().manual_seed(2)
    some = torch.randperm(len(by_channel), generator=generator)[:12].tolist()
    places = locations(*by_location.shape)
    where = torch.randperm(len(places), generator=generator)[:12].tolist()
    found = zeroed(model, layer, images, [*channels(some), *(places[i] for i in where)])[0, target]
    with torch.no_grad():
        found /= model(images)[0, target].abs()
    assert_same(by_channel[some], found[:12])
    assert_same(by_location.flatten()[where], found[12:])


def test_a_head_that_ignores_the_features() -> None:
    class Deaf(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features, self.only = nn.Conv2d(3, 6, 1), nn.Linear(6, 4)

        def forward(self, images: Tensor) -> Tensor:
            return self.only(self.features(images).detach().mean((2, 3)))

    for frozen in (False, True):
        model = Deaf().double().requires_grad_(not frozen)
        probe = ask(model, "features", pictures(2, 4, 7))
        assert probe.gradient.shape == (2, 6, 4, 7) and not probe.gradient.any()


def asks_head(monkeypatch: pytest.MonkeyPatch, limit: int | None = None) -> list[int]:
    """The batches that heads are asked with from now on; above a limit there is no memory."""
    batches: list[int] = []
    head = Split.head

    def counted(self: Split, features: Tensor) -> Tensor:
        if limit is not None and len(features) > limit:
            raise torch.OutOfMemoryError
        batches.append(len(features))
        return head(self, features)

    monkeypatch.setattr(Split, "head", counted)
    return batches


def test_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As large as was asked for; as large as fits; half as large while memory runs out; and an end to that."""
    model, images = headed("convolution, relu"), pictures(2, 4, 7)
    expected = ask(model, "features", images).location_drops()
    batches = asks_head(monkeypatch)
    probe = ask(model, "features", images, chunk=5, head=True)
    probe.location_drops()
    assert batches == [2, *[5] * 11, 1]
    batches.clear()
    monkeypatch.setattr(module, "CHUNK_BYTES", 20 * 6 * 28 * 8)
    probe = ask(model, "features", images, head=True)
    probe.location_drops()
    assert batches == [2, 20, 20, 16]
    monkeypatch.setattr(module, "free_bytes", lambda device: 16 * 7 * 6 * 28 * 8)
    batches.clear()
    probe.location_drops()
    assert batches == [7] * 8
    monkeypatch.undo()
    batches = asks_head(monkeypatch, limit=3)
    assert_same(ask(model, "features", images, chunk=20, head=True).location_drops(), expected)
    assert batches == [2, *[3] * 18, 2]  # 20, 10, 5 and then 3
    monkeypatch.undo()
    probe = ask(model, "features", images, head=True)
    asks_head(monkeypatch, limit=0)
    with pytest.raises(torch.OutOfMemoryError):
        probe.location_drops()


@pytest.mark.parametrize("how", ["closed", "linear"])
def test_known_beginnings_never_ask_the_head(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name, head in HEADS.items() if head[2] == how]:
        probe = ask(headed(name), "features", pictures(2, 4, 7))
        with monkeypatch.context() as patch:
            batches = asks_head(patch)
            probe.channel_drops()
            probe.location_drops()
        assert sum(batches) <= 2  # for the gradient of one class


def test_products_in_parts_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    probe = ask(headed("max-pool, linear, relu"), "features", pictures(2, 4, 7))
    expected = probe.channel_drops(), probe.location_drops(every_class=True)
    monkeypatch.setattr(module, "CHUNK_BYTES", 1)  # one image at a time
    torch.testing.assert_close((probe.channel_drops(), probe.location_drops(every_class=True)), expected)
