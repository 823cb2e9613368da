"""Score-CAM against a loop over channels, and against the grad-cam package."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.attribution.networks import assert_same, headed, network, pictures
from xcnn.attribution import ScoreCAM
from xcnn.errors import UserError

TARGETS = [3, 1]


@torch.no_grad()
def loop(model: nn.Module, layer: str, images: Tensor, targets: list[int]) -> Tensor:
    """Algorithm 1, a channel at a time."""
    seen: list[Tensor] = []
    hook = model.get_submodule(layer).register_forward_hook(lambda *call: seen.append(call[2].clone()))
    model(images)
    hook.remove()
    maps = []
    for image, features, target in zip(images, seen[0], targets, strict=True):
        scores, live = [], []
        for a in features:
            mask = F.interpolate(a[None, None], size=image.shape[1:], mode="bilinear", align_corners=False)[0, 0]
            if mask.max() > mask.min():
                live.append(a)
                mask = (mask - mask.min()) / (mask.max() - mask.min())
                scores.append(model((image * mask)[None])[0, target])
        weights = torch.stack(scores).softmax(0)
        maps.append((weights[:, None, None] * torch.stack(live)).sum(0).relu())
    return torch.stack(maps)


@pytest.mark.parametrize(
    ("name", "layer", "size"),
    [
        ("conv3", "relu1", (8, 12)),
        ("conv3", "conv2", (8, 12)),  # a map smaller than the image
        ("vgg16", "features.30", (64, 96)),
        ("gap, linear", "features", (4, 7)),
    ],
)
def test_channel_by_channel(name: str, layer: str, size: tuple[int, int]) -> None:
    model, images = headed(name) if layer == "features" else network(name), pictures(2, *size)
    expected = loop(model, layer, images, TARGETS)
    assert_same(ScoreCAM(model, layer)(images, TARGETS), expected)
    assert_same(ScoreCAM(model, layer, batch=5)(images, TARGETS), expected)


def test_constant_channels_take_no_part() -> None:
    model, images = headed("gap, linear"), pictures(2, 4, 7)
    with torch.no_grad():
        model.features.weight[[0, 4]] = 0  # only their biases are left
    result = ScoreCAM(model, "features").explain(images, TARGETS)
    assert result.ablations.tolist() == [4, 4]
    assert_same(result.maps, loop(model, "features", images, TARGETS))
    with torch.no_grad():
        model.features.weight.zero_()
    result = ScoreCAM(model, "features").explain(images, TARGETS)
    assert not result.maps.any() and result.ablations.tolist() == [0, 0]


def test_the_package() -> None:
    """On maps as large as the image, because it enlarges with the corners aligned."""
    package, targets = (
        pytest.importorskip("pytorch_grad_cam"),
        pytest.importorskip("pytorch_grad_cam.utils.model_targets"),
    )
    model, images = headed("gap, linear"), pictures(2, 4, 7)
    features = model.features(images).detach()
    oracle = package.ScoreCAM(model, [model.features])
    classes = [targets.ClassifierOutputTarget(target) for target in TARGETS]
    weights = oracle.get_cam_weights(images, model.features, classes, features.numpy(), None)
    expected = torch.einsum("nk,nkhw->nhw", torch.tensor(weights).double(), features).relu()
    assert_same(ScoreCAM(model, "features")(images, TARGETS), expected, 1e-5)


def test_wrong_batch() -> None:
    with pytest.raises(UserError, match="batch must be at least 1, not 0"):
        ScoreCAM(headed("gap, linear"), "features", batch=0)
