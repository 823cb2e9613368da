"""The channelwise prefix of heads: what is known of each, and that it is what the head does."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.attribution.networks import HEADS, Headed, headed, network, pictures, randomise
from xcnn.models.channelwise import ChannelwisePrefix, channelwise_prefix
from xcnn.models.split import Split, split_at

SIZE = (4, 7)


def find(model: nn.Module, layer: str = "features") -> tuple[Split, ChannelwisePrefix | None]:
    split = split_at(model, layer)
    return split, channelwise_prefix(split)


def kind(found: ChannelwisePrefix | None, size: tuple[int, int] = SIZE) -> str:
    if found is None:
        return "asked"
    if found.strides(size) is None:
        return "channels"
    return "closed" if found.linear is None else "linear"


def by_prefix(found: ChannelwisePrefix, features: Tensor) -> Tensor:
    """The logits by way of the prefix."""
    prefixed = found.prefix(features)
    return found.split.head(prefixed) if found.linear is None else found.rest(found.linear(prefixed.flatten(1)))


@pytest.mark.parametrize("name", HEADS)
@torch.no_grad()
def test_heads(name: str) -> None:
    split, found = find(headed(name))
    assert kind(found) == HEADS[name][2]
    if found is None:
        return
    features = split.trunk(pictures(2, *SIZE))
    kept = features.clone()
    torch.testing.assert_close(by_prefix(found, features), split.head(features), rtol=1e-12, atol=1e-12)
    assert torch.equal(features, kept)
    assert found.split.affine == (found.linear is None)


@pytest.mark.parametrize("name", [name for name, (*_, how) in HEADS.items() if how in ("closed", "linear")])
@torch.no_grad()
def test_what_a_channel_and_a_location_reach(name: str) -> None:
    """The channel itself and no other; the one place that the strides say, or none where a pooling leaves it out."""
    split, found = find(headed(name))
    strides = found.strides(SIZE) if found is not None else None
    assert found is not None and strides is not None
    features = split.trunk(pictures(1, *SIZE))
    prefixed = found.prefix(features)
    for channel in range(6):
        changed = features.clone()
        changed[:, channel] += 1e3
        differs = (found.prefix(changed) != prefixed).flatten(2).any(2)
        assert differs.nonzero()[:, 1].tolist() == [channel]
    for row, column in torch.cartesian_prod(torch.arange(SIZE[0]), torch.arange(SIZE[1])).tolist():
        changed = features.clone()
        changed[:, :, row, column] += 1e3
        differs = (found.prefix(changed) != prefixed).any(1)
        place = [0, row // strides[0], column // strides[1]]
        inside = place[1] < prefixed.shape[2] and place[2] < prefixed.shape[3]
        assert differs.nonzero().tolist() == ([place] if inside else [])


@pytest.mark.parametrize(
    ("name", "size", "strides"),
    [
        ("gap, linear, relu", (9, 5), (9, 5)),
        ("gap, linear, relu", (1, 1), (1, 1)),
        ("max-pool, linear, relu", (9, 5), (2, 2)),
        ("two pools, linear, relu", (9, 5), (4, 4)),
        ("squared pools", (7, 7), (4, 4)),
        ("cells, linear, relu", (6, 14), (3, 2)),
        ("cells, linear, relu", (5, 7), None),  # cells of 2 and 3 rows share one
        ("cells, linear, relu", (1, 7), None),  # a row for two cells
        ("uneven cells", (8, 10), (2, 2)),
        ("a side as it is", (5, 9), (1, 3)),
        ("a side as it is", (5, 10), None),
        ("overlapping pool", (8, 8), None),
        ("pool to the ceiling", (8, 8), None),  # in general more results than the floor
    ],
)
def test_strides_by_hand(name: str, size: tuple[int, int], strides: tuple[int, int] | None) -> None:
    found = find(headed(name))[1]
    assert found is not None and found.strides(size) == strides


@pytest.mark.parametrize(
    ("layer", "size", "strides"),
    [
        ("features.28", (14, 14), (2, 2)),
        ("features.29", (14, 14), (2, 2)),
        ("features.29", (15, 14), (2, 2)),  # the last row is left out
        ("features.30", (7, 7), (1, 1)),
        ("features.30", (14, 7), (2, 1)),
        ("features.30", (2, 3), None),  # the adaptive pooling repeats them
        ("features.30", (10, 10), None),  # ... or shares them
        ("avgpool", (7, 7), (1, 1)),
    ],
)
def test_vgg(layer: str, size: tuple[int, int], strides: tuple[int, int] | None) -> None:
    model = network("vgg16")
    found = find(model, layer)[1]
    assert found is not None and found.linear is not None and found.strides(size) == strides
    assert found.linear.weight is model.classifier[0].weight  # type: ignore[union-attr, index]


def test_last_and_earlier_layers() -> None:
    resnet = network("small resnet")
    split, found = find(resnet, "layer4")
    assert found is not None and found.split is split and found.linear is None  # GAP + linear as it stands
    assert find(resnet, "layer3")[1] is None  # a residual block has two ways
    split, found = find(network("small densenet"), "features")
    assert found is not None and found.linear is None and found.split is not split
    features = torch.randn_like(split.trunk(pictures(1, 64, 96)))
    assert torch.equal(found.prefix(features), features.relu())
    assert find(network("vgg16"), "features.23")[1] is None  # convolutions and ReLUs follow
    found = find(network("conv3"), "conv3")[1]
    assert found is not None and found.linear is None and found.strides((4, 6)) == (1, 1)


def test_statistics_of_the_batch_are_not_channelwise() -> None:
    model = Headed(lambda m, x: m.only(F.relu(m.norm(x)).flatten(1)), 28)
    model.norm = nn.BatchNorm2d(6, track_running_stats=False)
    assert find(randomise(model))[1] is None
