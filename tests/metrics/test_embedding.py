"""UMAP's plane, seeded, fitted on one set and applied to others; prototypes among embeddings, by hand."""

import numpy as np
import pytest
import torch

from xcnn.metrics.embedding import class_distance, own_share, plane


@pytest.mark.slow  # importing UMAP and compiling it takes a minute
def test_neighbours_stay_neighbours_and_the_seed_decides() -> None:
    generator = torch.Generator().manual_seed(0)
    middles = 10 * torch.randn(3, 16, generator=generator)
    labels = torch.arange(90) % 3
    rows = middles[labels] + torch.randn(90, 16, generator=generator)
    first, middle = plane(rows, [middles], seed=1)
    again, _ = plane(rows, [middles], seed=1)
    other, _ = plane(rows, [middles], seed=2)
    assert first.shape == (90, 2) and middle.shape == (3, 2)
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    centres = np.stack([first[labels == j].mean(0) for j in range(3)])
    for points, classes in ((first, labels.numpy()), (middle, np.arange(3))):
        nearest = np.linalg.norm(points[:, None] - centres, axis=2).argmin(1)
        assert np.array_equal(nearest, classes)


EMBEDDINGS, LABELS = torch.tensor([[0.0, 0], [2, 0], [10, 0], [10, 4]]), torch.tensor([0, 0, 1, 1])
PROTOTYPES, CLASSES = torch.tensor([[1.0, 3], [9, 0], [10, 6]]), torch.tensor([0, 0, 1])


def test_share_of_prototypes_nearest_to_their_own_class() -> None:
    assert own_share(PROTOTYPES, CLASSES, EMBEDDINGS, LABELS) == pytest.approx(
        200 / 3
    )  # the second is nearest to class 1


def test_distance_to_the_class_mean_in_its_spreads() -> None:
    # Class 0 has mean (1, 0) and spread 1: distances 3 and 8; class 1 has mean (10, 2) and spread 2: distance 4.
    assert class_distance(PROTOTYPES, CLASSES, EMBEDDINGS, LABELS) == pytest.approx((3 + 8 + 4 / 2) / 3)
