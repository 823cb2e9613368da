"""Matching filters that were shuffled, scaled and killed."""

import numpy as np
import pytest
import torch

from xcnn.errors import UserError
from xcnn.filters import filter_correlation, match_filters, paired


@pytest.mark.parametrize("shape", [(40, 6), (5, 6, 4, 4)])
def test_a_shuffle_is_undone(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    before = torch.rand(shape)
    shuffle = torch.randperm(6)
    scale = torch.arange(1, 7).view(-1, *[1] * (len(shape) - 2))
    after = (before * scale + 3)[:, shuffle] + 0.05 * torch.rand(shape)
    permutation, correlation = match_filters(before, after)
    assert torch.equal(shuffle[permutation], torch.arange(6))
    rows = [before.transpose(0, 1).flatten(1)[k].numpy() for k in range(6)]
    others = [after[:, permutation].transpose(0, 1).flatten(1)[k].numpy() for k in range(6)]
    np.testing.assert_allclose(correlation, [np.corrcoef(a, b)[0, 1] for a, b in zip(rows, others, strict=True)], 1e-5)


def test_the_sum_is_maximised_and_not_each_pair() -> None:
    """Correlations [[.98, .97], [.9, .2]]-like: taking the best pair first would leave the worst."""
    torch.manual_seed(0)
    x, noise = torch.randn(2000, dtype=torch.float64), torch.randn(3, 2000, dtype=torch.float64)
    before = torch.stack([x, x + noise[0]], dim=1)
    after = torch.stack([x + 0.1 * noise[0], x + 0.3 * noise[1]], dim=1)
    correlation = filter_correlation(before, after)
    assert correlation.argmax() == 0 and correlation[0, 1] + correlation[1, 0] > correlation.trace()
    permutation, matched = match_filters(before, after)
    assert permutation.tolist() == [1, 0]
    torch.testing.assert_close(matched, torch.stack([correlation[0, 1], correlation[1, 0]]))


def test_constant_filters_correlate_zero() -> None:
    before = torch.rand(10, 3)
    before[:, 1] = 0.1
    correlation = filter_correlation(before, before)
    assert not correlation[1].any() and not correlation[:, 1].any()
    torch.testing.assert_close(correlation.diagonal(), torch.tensor([1.0, 0, 1]).double())
    permutation, _ = match_filters(before, before)
    assert permutation.tolist() == [0, 1, 2]


def test_shapes_must_agree() -> None:
    with pytest.raises(UserError, match=r"found \(10, 3\) and \(9, 3\)"):
        match_filters(torch.rand(10, 3), torch.rand(9, 3))


def test_pairs_are_chosen_by_both_sides_and_none_twice() -> None:
    partner = torch.tensor([2, 0, 1, 3])  # filter 0 after belongs to filter 2 before, and so on
    assert paired([0, 3], [2, 1, 0], partner, 4) == [(0, 1), (3, 3), (1, 2), (2, 0)]  # (0, 1) is there already
    assert paired([0, 3], [2, 1, 0], partner, 3) == [(0, 1), (3, 3), (1, 2)]
    assert paired([0], [1, 0], torch.arange(4), 2) == [(0, 0), (1, 1)]
    assert paired([], [2], partner, 4) == [(1, 2)]  # no filter is live before
