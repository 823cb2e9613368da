"""RISE by its formula, on masks formed one by one."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.attribution.networks import assert_same, network, pictures
from xcnn.attribution import RISE
from xcnn.errors import UserError


def masks(count: int, cells: int, keep: float, seed: int, size: tuple[int, int]) -> np.ndarray:
    """A mask at a time, each pixel by hand: bilinear weights of the cells around it."""
    generator = np.random.default_rng(seed)
    grids = generator.random((count, cells, cells)) < keep
    cell = [-(-side // cells) for side in size]
    shifts = [generator.integers(0, each, count) for each in cell]
    found = np.zeros((count, *size))
    for mask, grid, *shift in zip(found, grids, *shifts, strict=True):
        for i, j in np.ndindex(*size):
            for weight, row, column in _around((i, j), shift, cell, cells):
                mask[i, j] += weight * grid[row, column]
    return found


def _around(place: tuple[int, int], shift: list[int], cell: list[int], cells: int) -> list[tuple[float, int, int]]:
    """Weight and cell of the four cells around a pixel, on a grid enlarged to one cell more than the image."""
    axes = []
    for axis in (0, 1):
        at = (place[axis] + shift[axis] + 0.5) * cells / ((cells + 1) * cell[axis]) - 0.5
        at = min(max(at, 0), cells - 1)
        low = int(at)
        axes.append([(1 - at + low, low), (at - low, min(low + 1, cells - 1))])
    return [(a * b, row, column) for a, row in axes[0] for b, column in axes[1]]


def test_the_formula() -> None:
    model, x = network("conv3"), pictures(2, 10, 14)
    expected = []
    for image, target in zip(x, (3, 1), strict=True):
        total = torch.zeros(10, 14, dtype=torch.float64)
        for mask in torch.from_numpy(masks(12, 4, 0.3, 5, (10, 14))):
            total += model((image * mask)[None]).softmax(1)[0, target].detach() * mask
        expected.append(total / (0.3 * 12))
    result = RISE(model, 12, 4, 0.3, seed=5).explain(x, [3, 1])
    assert_same(result.maps, torch.stack(expected))
    assert result.ablations.tolist() == [12, 12]
    assert (RISE(model, 12, 4, 0.3)(x, [3, 1]) - result.maps).abs().max() > 1e-3


class Region(nn.Module):
    """Class 0 where the top left quarter is bright."""

    def forward(self, x: Tensor) -> Tensor:
        score = x[:, 0, :8, :8].mean((1, 2))
        return torch.stack([8 * score, 4 * torch.ones_like(score)], 1)


def test_it_finds_what_the_class_reads() -> None:
    found = RISE(Region(), 2000, 4)(torch.ones(1, 1, 16, 16), 0)[0]
    assert found[:8, :8].mean() > found[8:, 8:].mean() + 0.1


def test_without_a_class_the_map_is_flat() -> None:
    """Where the probability is the same for all masks, the mean mask over its expectation: about that probability."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(16 * 16, 4))
    nn.init.zeros_(model[1].weight)
    nn.init.zeros_(model[1].bias)
    found = RISE(model, 3000, 4, keep=0.25)(torch.ones(1, 1, 16, 16), 0)[0]
    assert abs(found.mean() - 0.25) < 0.01 and (found - 0.25).abs().max() < 0.05


def test_refusals() -> None:
    for options in ({"masks": 0}, {"cells": 0}, {"keep": 0.0}, {"keep": 1.0}):
        with pytest.raises(UserError, match=r"give at least 1 mask, at least 1 cell, and a probability"):
            RISE(Region(), **options)  # type: ignore[arg-type]
