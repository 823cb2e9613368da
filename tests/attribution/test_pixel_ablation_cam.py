"""Pixel Ablation-CAM against zeroing in the user's own network, captum, the authors' code, and CAM where it is CAM."""

import numpy as np
import pytest
import torch

from tests.attribution.networks import (
    LAYERS,
    assert_same,
    headed,
    locations,
    network,
    pictures,
    zeroed,
    zeroed_by_captum,
)
from xcnn.attribution import CAM, PixelAblationCAM
from xcnn.attribution.pixel_ablation_cam import Variant
from xcnn.errors import UserError

TARGETS = [3, 1]


def authors(weights: np.ndarray, activations: np.ndarray) -> np.ndarray:
    """The map as the authors' public code forms it, for one image: weights (h, w), activations (K, h, w)."""
    weights = (weights - weights.min()) / (weights.max() - weights.min())
    weighted = np.stack([weights * activation for activation in activations])
    cam = weighted.sum(axis=0)
    return (cam - cam.min()) / (cam.max() - cam.min())


@pytest.mark.parametrize("name", ["gap, linear", "max-pool, linear, relu", "overlapping pool", "convolution, relu"])
def test_weights_and_maps_by_brute_force(name: str) -> None:
    """Eq. 4 by zeroing in the network, and from it the three readings of eq. 5."""
    model, images = headed(name), pictures(2, 4, 7)
    with torch.no_grad():
        scores, features = model(images)[range(2), TARGETS], model.features(images)
    losses = zeroed(model, "features", images, locations(4, 7))[range(2), TARGETS]
    weights = losses.unflatten(1, (4, 7)) / scores.abs()[:, None, None]
    for variant in ("paper", "author", "drop"):
        assert_same(PixelAblationCAM(model, "features", variant=variant).weights(images, TARGETS), weights)
    assert_same(PixelAblationCAM(model, "features", variant="drop")(images, TARGETS), weights)
    paper = torch.zeros(2, 4, 7, dtype=torch.float64)
    for channel in range(6):
        paper += weights * features[:, channel]
    assert_same(PixelAblationCAM(model, "features")(images, TARGETS), paper.clamp(min=0))
    author = [authors(w.numpy(), a.numpy()) for w, a in zip(weights, features, strict=True)]
    assert_same(PixelAblationCAM(model, "features", variant="author")(images, TARGETS), torch.tensor(np.stack(author)))


@pytest.mark.parametrize(("name", "layer", "size"), LAYERS)
def test_captum(name: str, layer: str, size: tuple[int, int]) -> None:
    model, images = network(name), pictures(1, *size)
    method = PixelAblationCAM(model, layer, variant="drop")
    score = method.probe(images, TARGETS[:1]).score
    drops = method(images, TARGETS[:1]) * score.abs()
    mask = torch.arange(drops.numel()).reshape(1, 1, *drops.shape[1:])
    oracle = zeroed_by_captum(
        model, layer, images, TARGETS[:1], mask.expand(1, method.probe(images).features.shape[1], -1, -1)
    )
    assert_same(drops, oracle[:, 0], 1e-6)


@pytest.mark.parametrize(("name", "layer"), [("conv3", "relu3"), ("small resnet", "layer4")])
def test_on_pooled_linear_heads_it_is_cam(name: str, layer: str) -> None:
    """The drop is CAM / (h w) / |Y|, so that the map is CAM but for what sum_k A_k adds to it."""
    model, images = network(name), pictures(2, 64, 96)
    cam = CAM(model, layer)(images, TARGETS)
    drops = PixelAblationCAM(model, layer, variant="drop").explain(images, TARGETS)
    scores = drops.logits[range(2), TARGETS].abs()[:, None, None]
    assert_same(drops.maps, cam / cam[0].numel() / scores)


@pytest.mark.parametrize("variant", ["paper", "author", "drop"])
@pytest.mark.parametrize("name", ["flatten, linear", "squared pools", "max-pool, linear, relu", "excitation"])
def test_every_class_is_one_by_one(name: str, variant: Variant) -> None:
    method, images = PixelAblationCAM(headed(name), "features", variant=variant), pictures(2, 4, 7)
    maps = method.every_class(images)
    assert maps.shape == (2, 5, 4, 7)
    for target in range(5):
        torch.testing.assert_close(maps[:, target], method(images, target), rtol=1e-9, atol=1e-9)


def test_both_layers_of_vgg() -> None:
    """The last max-pooling (7 x 7, 49 ablations; the authors' code) and the last convolution (14 x 14; the text)."""
    model, images = network("vgg16"), pictures(1, 224, 224)
    for layer, side in (("features.30", 7), ("features.29", 14), ("features.28", 14)):
        result = PixelAblationCAM(model, layer).explain(images)
        assert result.maps.shape == (1, side, side) and result.ablations.tolist() == [side * side]
    # Of the four activations that a pooling compares, the three that lose change nothing.
    drops = PixelAblationCAM(model, "features.29", variant="drop")(images)
    pooled = PixelAblationCAM(model, "features.30", variant="drop")(images)
    assert (drops != 0).sum() > 49 > 0 and pooled.shape == (1, 7, 7)


def test_unknown_variant() -> None:
    with pytest.raises(UserError, match="variant is 'sum'; choose one of paper, author, drop"):
        PixelAblationCAM(headed("gap, linear"), "features", variant="sum")  # type: ignore[arg-type]
