"""Ablation-CAM++: equal to Ablation-CAM where nothing is pruned, cheaper where something is, and its groups."""

import pytest
import torch
from torch import Tensor

from tests.attribution.networks import HEADS, assert_same, headed, network, pictures, zeroed
from xcnn.attribution import AblationCAM, AblationCAMPlusPlus, Explanation, Method, Probe
from xcnn.errors import UserError

TARGETS = [3, 1]


@pytest.mark.parametrize("groups", [1, 3, 16, 1000])
@pytest.mark.parametrize(
    ("name", "layer"), [("gap, linear", "features"), ("relu, gap, linear", "features"), ("conv3", "relu3")]
)
def test_without_pruning_it_is_ablation_cam_where_channels_add_up(name: str, layer: str, groups: int) -> None:
    model, images = headed(name) if name in HEADS else network(name), pictures(2, 12, 20)
    expected = AblationCAM(model, layer)(images, TARGETS)
    assert_same(AblationCAMPlusPlus(model, layer, groups=groups, threshold=0)(images, TARGETS), expected)


def test_pruning_saves_ablations() -> None:
    """The more the higher the threshold, and the map stays like Ablation-CAM's."""
    model, images = network("conv3"), pictures(3, 32, 48)
    expected = AblationCAM(model, "relu3")(images)
    found: list[Explanation] = [
        AblationCAMPlusPlus(model, "relu3", threshold=threshold).explain(images) for threshold in (0, 0.02, 0.1, 0.5)
    ]
    ablations = torch.stack([explanation.ablations for explanation in found])
    assert (ablations.diff(dim=0) < 0).all() and (ablations[2] < 128).all() and (ablations[3] >= 16).all()
    for explanation, least in zip(found, (1, 0.97, 0.85, 0.5), strict=True):
        for ours, theirs in zip(explanation.maps, expected, strict=True):
            assert torch.corrcoef(torch.stack([ours.flatten(), theirs.flatten()]))[0, 1] > least - 1e-6


Asked = list[tuple[Tensor, Tensor, Tensor]]


def explain(method: Method, images: Tensor, monkeypatch: pytest.MonkeyPatch) -> tuple[Explanation, Asked]:
    """What a method finds, and all that it asks: the groups of each channel, which are asked for, and their drops."""
    asked: Asked = []
    ask = Probe.group_drops

    def recorded(self: Probe, groups: Tensor, which: Tensor) -> Tensor:
        drops = ask(self, groups, which)
        asked.append((groups.clone(), which.clone(), drops.clone()))
        return drops

    with monkeypatch.context() as patch:
        patch.setattr(Probe, "group_drops", recorded)
        return method.explain(images, TARGETS), asked


@pytest.mark.parametrize("threshold", [0.0, 0.05])
@pytest.mark.parametrize(("name", "layer"), [("vgg16", "features.30"), ("conv3", "pool1"), ("conv3", "relu3")])
def test_groups(name: str, layer: str, threshold: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree: halves part what was asked for before, only where that cost enough; its leaves give the weights."""
    model, images = network(name), pictures(2, 64, 96) if name == "vgg16" else pictures(2, 12, 20)
    method = AblationCAMPlusPlus(model, layer, groups=4, threshold=threshold)
    result, asked = explain(method, images, monkeypatch)
    probe = method.probe(images, TARGETS)
    for image in range(2):
        leaves: dict[frozenset[int], float] = {}
        score = probe.score[image].abs().item()
        count = 0
        for level, (groups, which, drops) in enumerate(asked):
            now = {
                frozenset((groups[image] == g).nonzero()[:, 0].tolist()): drops[image, g].item()
                for g in which[image].nonzero()[:, 0].tolist()
            }
            count += len(now)
            assert all(now)
            if level == 0:
                assert 4 <= len(now) <= 7  # all in two, until there are enough
                assert sorted(k for members in now for k in members) == list(range(groups.shape[1]))
            else:
                parents = [members for members in leaves if any(half < members for half in now)]
                for members in parents:
                    halves = [half for half in now if half < members]
                    assert len(halves) == 2 and halves[0] | halves[1] == members
                    assert len(halves[0]) + len(halves[1]) == len(members)
                    assert abs(leaves.pop(members)) > threshold * score
                assert 2 * len(parents) == len(now)
            leaves |= now
        for members, drop in leaves.items():
            assert len(members) == 1 or abs(drop) <= threshold * score
        assert sorted(k for members in leaves for k in members) == list(range(probe.features.shape[1]))
        assert result.ablations[image] == count
        some = sorted(leaves, key=lambda members: abs(leaves[members]))[-4:]
        expected = zeroed(model, layer, images[image : image + 1], [(sorted(members),) for members in some])
        assert_same(torch.tensor([leaves[members] for members in some]).double(), expected[0, TARGETS[image]], 1e-6)
        by_hand = sum(
            drop / len(members) / score * probe.features[image, k] for members, drop in leaves.items() for k in members
        )
        assert isinstance(by_hand, Tensor)
        torch.testing.assert_close(result.maps[image], by_hand.relu(), rtol=1e-8, atol=1e-8)


def test_halves_by_hand() -> None:
    """Channels of one shape stay together, whatever their strength; those of other images and groups are not mixed."""
    method = AblationCAMPlusPlus(headed("gap, linear"), "features")
    left, right = [1.0, 0.1, 0.0], [0.0, 0.1, 1.0]
    maps = torch.tensor([[left, right, left, right, right, left], [left, left, left, left, right, left]])
    maps /= maps.norm(dim=2, keepdim=True)
    groups = torch.tensor([[0, 0, 0, 0, 1, 1], [0, 0, 1, 1, 1, 1]])
    divided = torch.tensor([[True, False, False, False, False, False], [True, True, False, False, False, False]])
    second = method._second_half(maps, groups, divided)
    first, *others = second[0].tolist()
    assert others == [not first, first, not first, False, False]
    assert second[1, :2].tolist() == [False, True]  # the same map twice: one each
    lone = second[1, 2:].tolist()
    assert lone in ([False, False, True, False], [True, True, False, True])


def test_channels_that_are_all_alike_are_still_divided() -> None:
    model, images = headed("convolution, relu"), pictures(2, 4, 7)
    with torch.no_grad():
        model.features.weight[:] = model.features.weight[:1]
        model.features.bias[:] = model.features.bias[:1]
    result = AblationCAMPlusPlus(model, "features", groups=1, threshold=0).explain(images, TARGETS)
    assert result.ablations.tolist() == [11, 11] and result.maps.isfinite().all()  # 6 leaves and the 5 nodes above


def test_silent_channels() -> None:
    model, images = headed("gap, linear"), pictures(2, 4, 7)
    with torch.no_grad():
        model.features.weight[1:] = 0
        model.features.bias[1:] = 0
    expected = AblationCAM(model, "features")(images, TARGETS)
    assert_same(AblationCAMPlusPlus(model, "features", threshold=0)(images, TARGETS), expected)
    with torch.no_grad():
        model.features.weight.zero_()
        model.features.bias.zero_()
    assert not AblationCAMPlusPlus(model, "features")(images, TARGETS).any()


def test_neither_batch_nor_precision_decides_the_groups() -> None:
    """Channels of few places are often equally far from each other; images need different numbers of halvings."""
    model, images = network("conv3").bfloat16().double(), pictures(6, 12, 20).bfloat16().double()
    method = AblationCAMPlusPlus(model, "relu3")
    result = method.explain(images, 3)
    for index in range(6):
        alone = method.explain(images[index : index + 1], 3)
        assert_same(alone.maps[0], result.maps[index])
        assert alone.ablations[0] == result.ablations[index]
    single = AblationCAMPlusPlus(model.float(), "relu3").explain(images.float(), 3)
    assert torch.equal(single.ablations, result.ablations)
    assert_same(single.maps.double(), result.maps, 1e-4)


@pytest.mark.parametrize("options", [{"groups": 0}, {"iterations": 0}, {"threshold": -0.1}, {"threshold": 1}])
def test_wrong_options(options: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"give at least 1, at least 1, and a share in \[0, 1\)"):
        AblationCAMPlusPlus(headed("gap, linear"), "features", **options)  # type: ignore[arg-type]
