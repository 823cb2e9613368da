"""Insertion and deletion against hand-computed curves, a one-image-at-a-time transcription of RISE, and scipy."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.signal import correlate2d
from torch import Tensor

from xcnn.errors import UserError
from xcnn.metrics import auc, blurred, deletion_curves, insertion_curves

IMAGE = torch.tensor([[[[8.0, 4.0], [2.0, 1.0]]]])
MAP = torch.tensor([[[0.0, 3.0], [2.0, 1.0]]])  # relevance falls 4, 2, 1, 8
ZERO = torch.zeros(())


def total(inputs: Tensor, _: Tensor) -> Tensor:
    return inputs.sum((1, 2, 3))


def test_deletion_and_insertion_by_hand() -> None:
    assert deletion_curves(total, IMAGE, MAP, ZERO, steps=4).tolist() == [[15, 11, 9, 8, 0]]
    assert insertion_curves(total, IMAGE, MAP, ZERO, steps=4).tolist() == [[0, 4, 6, 7, 15]]
    assert deletion_curves(total, IMAGE, MAP, ZERO, 4, least_relevant_first=True).tolist() == [[15, 7, 6, 4, 0]]
    assert insertion_curves(total, IMAGE, MAP, ZERO, 4, least_relevant_first=True).tolist() == [[0, 8, 9, 11, 15]]
    assert deletion_curves(total, IMAGE, MAP, torch.ones(1, 1, 1, 1), steps=2).tolist() == [[15, 11, 4]]


def test_ties_go_in_reading_order() -> None:
    assert deletion_curves(total, IMAGE, torch.zeros(1, 1, 1), ZERO, steps=4).tolist() == [[15, 7, 3, 1, 0]]


def rise(image: np.ndarray, order: np.ndarray, finish: np.ndarray, step: int, score: np.ndarray) -> list[float]:
    """The loop of RISE's evaluation, on one image: replace `step` pixels at a time and score with a linear model."""
    start, scores = image.copy(), [float((score * image).sum())]
    for first in range(0, len(order), step):
        for place in order[first : first + step]:
            row, column = divmod(int(place), image.shape[2])
            start[:, row, column] = finish[:, row, column]
        scores.append(float((score * start).sum()))
    return scores


@pytest.mark.parametrize("batch", [1, 5, 64])
def test_against_one_pixel_at_a_time_whatever_the_batch(batch: int) -> None:
    generator = torch.Generator().manual_seed(0)
    images, baseline, weights = torch.rand(3, 4, 3, 6, 10, dtype=torch.float64, generator=generator)[:, :3]
    maps = torch.rand(3, 6, 10, dtype=torch.float64, generator=generator)
    asked = []

    def score(inputs: Tensor, index: Tensor) -> Tensor:
        asked.append(len(inputs))
        return (inputs * weights[index]).sum((1, 2, 3))

    deleted = deletion_curves(score, images, maps, baseline, steps=12, batch=batch)
    assert sum(asked) == deleted.numel() == 3 * 13 and max(asked) <= batch
    inserted = insertion_curves(score, images, maps, baseline, steps=12, batch=batch)
    for index in range(3):
        order = np.argsort(-maps[index].flatten().numpy())
        image, other, weight = (tensor[index].numpy() for tensor in (images, baseline, weights))
        np.testing.assert_allclose(deleted[index], rise(image, order, other, 5, weight))
        np.testing.assert_allclose(inserted[index], rise(other, order, image, 5, weight))


def test_portions_are_equal_to_the_nearest_pixel() -> None:
    gone = deletion_curves(total, torch.ones(1, 1, 7, 7), torch.rand(1, 7, 7), ZERO, steps=10)
    assert (49 - gone).tolist() == [[0, 5, 10, 15, 20, 24, 29, 34, 39, 44, 49]]


def test_scores_may_have_more_than_one_number() -> None:
    both = deletion_curves(lambda x, i: torch.stack([total(x, i), -total(x, i)], 1), IMAGE, MAP, ZERO, steps=2)
    assert both.tolist() == [[[15, -15], [9, -9], [0, 0]]]
    assert auc(both).tolist() == [[8.25, -8.25]]


def test_auc_is_the_trapezoid_over_the_share() -> None:
    assert auc(torch.tensor([[1.0, 1.0, 1.0]])).tolist() == [1]
    assert auc(torch.tensor([[4.0, 2.0, 0.0, 0.0]])).tolist() == [pytest.approx((3 + 1 + 0) / 3)]
    # RISE: (sum - first / 2 - last / 2) / (number of scores - 1)
    curves = torch.rand(5, 17, dtype=torch.float64)
    torch.testing.assert_close(auc(curves), (curves.sum(1) - curves[:, 0] / 2 - curves[:, -1] / 2) / 16)


def test_auc_relative_to_the_intact_image() -> None:
    curves = torch.tensor([[0.5, 0.5], [0.5, 0.25], [0.1, 0.3]])
    relative = auc(curves, torch.tensor([0.5, 0.5, -1.0]))
    torch.testing.assert_close(relative, torch.tensor([1.0, 0.75, torch.nan]), equal_nan=True)


def test_blur_is_rises() -> None:
    impulse = np.zeros((11, 11))
    impulse[5, 5] = 1
    kernel = gaussian_filter(impulse, 5)
    images = torch.rand(2, 3, 20, 17, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for image, found in zip(images.flatten(0, 1), blurred(images).flatten(0, 1), strict=True):
        np.testing.assert_allclose(found, correlate2d(image, kernel, mode="same"), atol=1e-12)
    torch.testing.assert_close(blurred(torch.ones(1, 3, 20, 20))[..., 5:15, 5:15], torch.ones(1, 3, 10, 10))


def test_refusals() -> None:
    with pytest.raises(UserError, match="NaN"):
        deletion_curves(total, IMAGE, MAP * torch.nan, ZERO)
    with pytest.raises(UserError, match="steps"):
        deletion_curves(total, IMAGE, MAP, ZERO, steps=0)
    with pytest.raises(UserError, match="batch"):
        insertion_curves(total, IMAGE, MAP, ZERO, batch=0)
    with pytest.raises(UserError, match=r"pass \(N, C, H, W\)"):
        insertion_curves(total, IMAGE, MAP.expand(2, 2, 2), ZERO)
