"""Meaningful perturbation on a network that reads one square, and its loss by hand."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.attribution.networks import assert_same, network, pictures
from xcnn.attribution import MeaningfulPerturbation
from xcnn.errors import UserError

OPTIONS: dict[str, Any] = {"steps": 40, "cells": 8, "blur": 4.0, "spread": 1.0, "jitter": 2, "sparsity": 1e-2}
ROWS, COLUMNS = slice(4, 10), slice(18, 26)


class Square(nn.Module):
    """Class 0 where the square has contrast, which a blur takes away."""

    def forward(self, x: Tensor) -> Tensor:
        score = 6 * x[:, :, ROWS, COLUMNS].var((1, 2, 3)) - 3
        return torch.stack([score, -score], 1)


def chequered() -> Tensor:
    """Two images of +-1, of which the second has the opposite signs."""
    row, column = torch.meshgrid(torch.arange(24), torch.arange(32), indexing="ij")
    image = ((row + column) % 2 * 2.0 - 1)[None]
    return torch.stack([image, -image]).double()


def test_the_mask_is_on_what_the_class_reads() -> None:
    method = MeaningfulPerturbation(Square(), **OPTIONS)
    x = chequered()
    result = method.explain(x, 0)
    maps = result.maps
    assert maps.shape == (2, 24, 32) and maps.min() >= 0 and maps.max() <= 1
    assert (maps[:, 5:9, 20:24].mean((1, 2)) > 0.3).all()
    outside = maps.clone()
    outside[:, ROWS.start - 3 : ROWS.stop + 3, COLUMNS.start - 4 : COLUMNS.stop + 4] = 0
    assert (outside.sum((1, 2)) < 0.1 * maps.sum((1, 2))).all()
    assert result.ablations.tolist() == [40, 40]
    mask, losses = method.learn(x, torch.tensor([0, 0]))
    assert mask.shape == (2, 8, 8) and losses.shape == (40, 2)
    assert (losses[-5:].mean(0) < 0.7 * losses[0]).all() and losses.isfinite().all()
    assert_same(MeaningfulPerturbation(Square(), **OPTIONS)(x[1:], 0), maps[1:])  # seeded, and no image sees another
    first, other = (MeaningfulPerturbation(Square(), **OPTIONS, seed=seed)(pictures(1, 24, 32), 0) for seed in (0, 1))
    assert (first - other).abs().max() > 1e-6


def test_the_loss_by_hand() -> None:
    """Area, variation and probability of eq. 5, on a mask of 2 x 2 that is enlarged without a blur."""
    model, x = network("conv3"), pictures(1, 8, 8)
    method = MeaningfulPerturbation(model, cells=2, spread=0.0, blur=1.0, sparsity=0.5, smoothness=2.0, power=3.0)
    mask = torch.tensor([[[1.0, 0.5], [0.0, 1.0]]], dtype=torch.float64)
    area, variation = 0 + 0.5 + 1 + 0, 1 + 0.5**3 + 0.5**3 + 1
    assert method._penalty(mask).tolist() == [0.5 * area + 2 * variation]
    profile = torch.exp(-(torch.arange(-3.0, 4, dtype=torch.float64) ** 2) / 2)
    kernel = profile[:, None] * profile / profile.sum() ** 2
    blurred = F.conv2d(F.pad(x, (3, 3, 3, 3), "reflect"), kernel.expand(3, 1, 7, 7), groups=3)
    whole = F.interpolate(mask[None], (8, 8), mode="bilinear")
    expected = model(x * whole + blurred * (1 - whole)).softmax(1)[:, 2]
    target = torch.tensor([2])
    _, losses = MeaningfulPerturbation(model, 1, 2, spread=0.0, blur=1.0, jitter=0).learn(x, target)
    method._disc = lambda *_: mask.clone()  # type: ignore[method-assign]
    method.jitter = 0
    _, own = method.learn(x, target)
    assert_same(own[0], (expected + method._penalty(mask)).detach())
    assert losses.shape == (1, 1)


def test_it_starts_from_the_smallest_disc_that_is_enough() -> None:
    """Contrast in the middle alone: a disc of few cells; at the border: one that holds all."""

    class Place(nn.Module):
        def __init__(self, rows: slice, columns: slice) -> None:
            super().__init__()
            self.there = (..., rows, columns)

        def forward(self, x: Tensor) -> Tensor:
            score = 20 * x[self.there].var((1, 2, 3))
            return torch.stack([score, 10 * torch.ones_like(score)], 1)

    x = chequered()[:1]
    starts = []
    for there in ((slice(10, 14), slice(14, 18)), (slice(0, 4), slice(0, 4))):
        method = MeaningfulPerturbation(Place(*there), 1, 8, spread=0.0, blur=4.0)
        mask, _ = method.learn(x, torch.tensor([0]))
        starts.append(int((mask < 0.5).sum()))
    assert 0 < starts[0] < 30 < 50 < starts[1] <= 64


def test_refusals() -> None:
    for options in ({"steps": 0}, {"cells": 0}, {"rate": 0.0}):
        with pytest.raises(UserError, match="give at least 1 of both, and a rate above 0"):
            MeaningfulPerturbation(Square(), **options)  # type: ignore[arg-type]
    for options in ({"jitter": -1}, {"blur": 0.0}, {"power": 0.5}, {"spread": -1.0}):
        with pytest.raises(UserError, match="none may be negative, blur must be above 0 and power at least 1"):
            MeaningfulPerturbation(Square(), **options)  # type: ignore[arg-type]
