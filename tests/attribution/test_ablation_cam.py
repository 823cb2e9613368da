"""Ablation-CAM against zeroing in the user's own network, captum, and Grad-CAM where the two are one."""

import pytest
import torch

from tests.attribution.networks import (
    HEADS,
    LAYERS,
    assert_same,
    channels,
    headed,
    network,
    pictures,
    zeroed,
    zeroed_by_captum,
)
from xcnn.attribution import AblationCAM
from xcnn.attribution.ablation_cam import Relative
from xcnn.errors import UserError

TARGETS = [3, 1]


@pytest.mark.parametrize("name", ["gap, linear", "max-pool, linear, relu", "convolution, relu"])
@pytest.mark.parametrize("relative", ["score", "norm", "none"])
def test_weights_and_map_are_the_papers(name: str, relative: Relative) -> None:
    """(Y - Y_k) / |Y|, or / ||A_k||, or as it is; then ReLU(sum_k w_k A_k)."""
    model, images = headed(name), pictures(2, 4, 7)
    method = AblationCAM(model, "features", relative=relative)
    with torch.no_grad():
        logits, features = model(images), model.features(images)
    losses = zeroed(model, "features", images, channels(range(6)))
    for image, target in enumerate(TARGETS):
        weights = losses[image, target]
        if relative == "score":
            weights = weights / logits[image, target].abs()
        if relative == "norm":
            weights = weights / features[image].square().sum((1, 2)).sqrt()
        assert_same(method.weights(images, TARGETS)[image], weights)
        by_hand = sum(weight * a for weight, a in zip(weights, features[image], strict=True))
        assert isinstance(by_hand, torch.Tensor)
        assert_same(method(images, TARGETS)[image], by_hand.clamp(min=0))


@pytest.mark.parametrize(("name", "layer", "size"), LAYERS)
def test_captum(name: str, layer: str, size: tuple[int, int]) -> None:
    model, images = network(name), pictures(1, *size)
    explained = AblationCAM(model, layer, relative="none")
    weights = explained.weights(images, TARGETS[:1])
    mask = torch.arange(weights.shape[1])[None, :, None, None].expand(1, -1, *explained(images).shape[1:])
    assert_same(weights, zeroed_by_captum(model, layer, images, TARGETS[:1], mask)[..., 0, 0], 1e-6)


@pytest.mark.parametrize(
    ("name", "layer"), [("gap, linear", "features"), ("mean, linear", "features"), ("conv3", "relu3")]
)
def test_on_pooled_linear_heads_it_is_grad_cams_weight_times_what_is_there(name: str, layer: str) -> None:
    model = headed(name) if name in HEADS else network(name)
    method, images = AblationCAM(model, layer), pictures(2, 4, 7)
    probe = method.probe(images, TARGETS)
    alpha = probe.gradient.mean((2, 3))
    expected = alpha * probe.features.sum((2, 3)) / probe.score.abs()[:, None]
    assert_same(method.weights(images, TARGETS), expected)


@pytest.mark.parametrize("relative", ["score", "norm", "none"])
@pytest.mark.parametrize("name", ["flatten, linear", "relu, gap, linear", "max-pool, linear, relu", "excitation"])
def test_every_class_is_one_by_one(name: str, relative: Relative) -> None:
    method, images = AblationCAM(headed(name), "features", relative=relative), pictures(2, 4, 7)
    maps = method.every_class(images)
    assert maps.shape == (2, 5, 4, 7)
    for target in range(5):
        torch.testing.assert_close(maps[:, target], method(images, target), rtol=1e-9, atol=1e-9)


def test_silent_channels_have_no_weight() -> None:
    model, images = headed("gap, linear"), pictures(2, 4, 7)
    with torch.no_grad():
        model.features.weight[2:4] = 0
        model.features.bias[2:4] = 0
    for relative in ("score", "norm", "none"):
        weights = AblationCAM(model, "features", relative=relative).weights(images)
        assert weights.isfinite().all() and not weights[:, 2:4].any() and weights[:, :2].all()


def test_ablations_are_counted() -> None:
    result = AblationCAM(headed("gap, linear"), "features").explain(pictures(3, 4, 7))
    assert result.ablations.tolist() == [6, 6, 6]


def test_unknown_option() -> None:
    with pytest.raises(UserError, match="relative is 'sum'; choose one of score, norm, none"):
        AblationCAM(headed("gap, linear"), "features", relative="sum")  # type: ignore[arg-type]
