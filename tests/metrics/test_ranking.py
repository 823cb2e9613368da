"""The order of pixels against hand-computed values."""

import pytest
import torch

from xcnn.errors import UserError
from xcnn.metrics.ranking import at_size, relevance_rank

MAP = torch.tensor([[[1.0, 7.0], [7.0, -2.0]]])


def test_most_relevant_first_and_ties_in_reading_order() -> None:
    assert relevance_rank(MAP, (2, 2)).tolist() == [[[2, 0], [1, 3]]]
    assert relevance_rank(torch.zeros(1, 1, 1), (2, 3)).tolist() == [[[0, 1, 2], [3, 4, 5]]]


def test_rank_of_the_upsampled_map() -> None:
    # [1, 0] doubled without aligned corners is [1, .75, .25, 0].
    assert at_size(torch.tensor([[[1.0, 0.0]]]), (1, 4)).tolist() == [[[1.0, 0.75, 0.25, 0.0]]]
    assert relevance_rank(torch.tensor([[[0.0, 1.0]]]), (1, 4)).tolist() == [[[3, 2, 1, 0]]]


def test_maps_of_a_batch_do_not_mix() -> None:
    maps = torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(0))
    ranks = relevance_rank(maps, (5, 7))
    for one, rank in zip(maps, ranks, strict=True):
        ordered = torch.empty(35).scatter_(0, rank.flatten(), one.flatten())
        assert (ordered.diff() < 0).all()


def test_refusals() -> None:
    with pytest.raises(UserError, match="NaN"):
        relevance_rank(torch.full((1, 2, 2), torch.nan), (4, 4))
    with pytest.raises(UserError, match="pass maps"):
        at_size(torch.zeros(2, 2), (4, 4))
