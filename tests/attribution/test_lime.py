"""LIME against the closed form of its regression, and against the lime package where it is installed."""

import zlib

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tests.attribution.networks import assert_same, network, pictures
from xcnn.attribution import LIME
from xcnn.attribution.lime import Segments, closeness, quickshift, slic
from xcnn.errors import UserError

SIZE = (12, 20)


def quarters(image: NDArray) -> NDArray:
    """Six rectangles, with numbers that have gaps."""
    row, column = np.indices(image.shape[:2])
    return 3 * (row // 6) + 7 * (column // 8)


def draws(image: Tensor, samples: int, count: int, seed: int = 0) -> NDArray:
    """The samples of an image."""
    name = zlib.crc32(image.float().numpy().tobytes())
    return np.random.default_rng((seed, name)).integers(0, 2, (samples, count))


@torch.no_grad()
def closed_form(model: nn.Module, image: Tensor, target: int, samples: int, value: float | None) -> Tensor:
    """(Z^T W Z + I)^-1 Z^T W p with all centred by their weighted means, a sample at a time."""
    segment = quarters(image.movedim(0, -1).numpy())
    names = np.unique(segment)
    kept = draws(image, samples, len(names))
    kept[0] = 1
    probabilities, weights = [], []
    for row in kept:
        altered = image.clone()
        for name, keep in zip(names, row, strict=True):
            there = torch.from_numpy(segment == name)
            if not keep:
                altered[:, there] = altered[:, there].mean(1, keepdim=True) if value is None else value
        probabilities.append(model(altered[None]).softmax(1)[0, target].item())
        norm = np.linalg.norm(row) * np.linalg.norm(kept[0])
        distance = 1 - (row @ kept[0] / norm if norm else 0)
        weights.append(np.sqrt(np.exp(-((distance / 0.25) ** 2))))
    w, p = np.array(weights), np.array(probabilities)
    z = kept - np.average(kept, 0, w)
    coefficient = np.linalg.solve(z.T @ (w[:, None] * z) + np.eye(len(names)), z.T @ (w * (p - np.average(p, 0, w))))
    return torch.from_numpy(coefficient[np.searchsorted(names, segment)])


@pytest.mark.parametrize("value", [None, 0.5])
def test_closed_form(value: float | None) -> None:
    model, x = network("conv3"), pictures(2, *SIZE)
    result = LIME(model, 40, quarters, value=value).explain(x, [3, 1])
    expected = [closed_form(model, image, target, 40, value) for image, target in zip(x, (3, 1), strict=True)]
    assert_same(result.maps, torch.stack(expected), 1e-8)
    assert result.ablations.tolist() == [40, 40]
    assert (LIME(model, 40, quarters, seed=1)(x, [3, 1]) - result.maps).abs().max() > 1e-6


def test_the_package() -> None:
    """The authors' code on the same samples and segments."""
    lime_image = pytest.importorskip("lime.lime_image")
    model, image = network("conv3"), pictures(1, *SIZE)[0]

    class Samples:
        def randint(self, low: int, high: int, size: int) -> NDArray:
            return draws(image, 50, 6).flatten()

    def probabilities(pictures: NDArray) -> NDArray:
        with torch.no_grad():
            return model(torch.from_numpy(np.stack(pictures)).movedim(-1, 1)).softmax(1).numpy()

    explainer = lime_image.LimeImageExplainer()
    explainer.random_state = Samples()
    explanation = explainer.explain_instance(
        image.movedim(0, -1).numpy(),
        probabilities,
        labels=(3,),
        top_labels=None,
        num_samples=50,
        segmentation_fn=lambda picture: np.unique(quarters(picture), return_inverse=True)[1].reshape(SIZE),
        random_seed=0,
    )
    coefficient = np.array([value for _, value in sorted(explanation.local_exp[3])])
    expected = torch.from_numpy(coefficient[explanation.segments])
    assert_same(LIME(model, 50, quarters)(image[None], 3)[0], expected, 1e-8)


class Left(nn.Module):
    """Class 0 where the left half is bright."""

    def forward(self, x: Tensor) -> Tensor:
        score = x[..., :48].mean((1, 2, 3))
        return torch.stack([score, -score], 1)


@pytest.mark.parametrize(("segments", "function"), [("quickshift", quickshift), ("slic", slic)])
def test_superpixels(segments: str, function: Segments) -> None:
    """Of two drawn squares, the left has the weight; with three channels and with one."""
    pytest.importorskip("skimage")
    x = 0.05 * pictures(1, 64, 96)
    x[:, :, 16:48, 8:40] += 2
    x[:, :, 16:48, 56:88] += 2
    for each in (x, x[:, :1]):
        found = LIME(Left(), 300, segments, value=0.0)(each, 0)[0]
        assert found[16:48, 8:40].mean() > 4 * found[16:48, 56:88].abs().mean()
    image = ((x[0] - x[0].min()) / (x[0].max() - x[0].min())).movedim(0, -1).numpy()
    names = function(image)
    assert names.shape == (64, 96) and 2 < len(np.unique(names)) < 200
    assert len(np.intersect1d(names[18:46, 10:38], names[18:46, 58:86])) == 0


def test_closeness_by_hand() -> None:
    """All kept: distance 0; one of four: 1 - 1/2; none: 1."""
    found = closeness(np.array([[1, 1, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0]]), 0.25)
    assert found == pytest.approx([1, np.exp(-2), np.exp(-8)])


def test_refusals() -> None:
    for options in ({"samples": 0}, {"width": 0.0}, {"penalty": -1.0}):
        with pytest.raises(UserError, match=r"give at least 1 sample, a width above 0 and a penalty of at least 0"):
            LIME(Left(), **options)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="segments is 'squares'; choose quickshift or slic, or pass a function"):
        LIME(Left(), segments="squares")
    with pytest.raises(UserError, match=r"segments gave \(3, 3\) for an image of \(12, 20\) pixels"):
        LIME(Left(), 5, lambda image: np.zeros((3, 3)))(pictures(1, *SIZE))
