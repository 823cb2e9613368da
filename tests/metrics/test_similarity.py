"""Similarity of maps against hand-computed values, SciPy and scikit-learn."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.spatial import distance
from sklearn.metrics import f1_score, jaccard_score, roc_auc_score
from torch import Tensor

from xcnn.errors import UserError
from xcnn.metrics import similarity
from xcnn.metrics.similarity import (
    auc_judd,
    cosine,
    dice,
    jaccard,
    kl,
    nss,
    pcc,
    rank_correlation,
    sim,
    top_share,
)

A = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]], dtype=torch.float64)
B = torch.tensor([[[4.0, 0.0], [0.0, 4.0]]], dtype=torch.float64)


def maps(seed: int, ties: bool = False, n: int = 3) -> Tensor:
    found = torch.rand(n, 9, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return (4 * found).round() if ties else found


def test_by_hand() -> None:
    """P = (1, 2, 3, 4) / 10 and Q = (1, 0, 0, 1) / 2."""
    assert sim(A, B).item() == pytest.approx(0.1 + 0.4)
    assert kl(A, B).item() == pytest.approx(0.5 * math.log(0.5 / 0.1) + 0.5 * math.log(0.5 / 0.4))
    assert pcc(A, B).item() == pytest.approx(0)  # deviations (-1.5, -0.5, 0.5, 1.5) and (2, -2, -2, 2)
    assert cosine(A, B).item() == pytest.approx((4 + 16) / math.sqrt(30 * 32))
    fixated = torch.tensor([[[False, False], [True, True]]])
    deviation = math.sqrt((1.5**2 + 0.5**2 + 0.5**2 + 1.5**2) / 3)
    assert nss(A, fixated).item() == pytest.approx((0.5 + 1.5) / 2 / deviation)
    assert auc_judd(A, fixated).item() == 1
    assert auc_judd(-A, fixated).item() == pytest.approx(3 / 8 - 1 / 8)  # (0, 0), (1, 1/2), (1, 1) by trapezoids
    marked = top_share(A, 0.5)
    assert marked.tolist() == fixated.tolist()
    other = torch.tensor([[[True, False], [False, True]]])
    assert (jaccard(marked, other).item(), dice(marked, other).item()) == (pytest.approx(1 / 3), 0.5)


@pytest.mark.parametrize("ties", [False, True])
def test_correlations_against_scipy(ties: bool) -> None:
    a, b = maps(0, ties), maps(1, ties) + maps(0)
    for k in range(3):
        x, y = a[k].flatten().numpy(), b[k].flatten().numpy()
        assert pcc(a, b)[k].item() == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)
        assert rank_correlation(a, b)[k].item() == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
        assert cosine(a, b)[k].item() == pytest.approx(1 - distance.cosine(x, y), abs=1e-12)
        assert kl(a + 0.1, b)[k].item() == pytest.approx(stats.entropy(y, x + 0.1), abs=1e-12)


def test_auc_against_the_mann_whitney_statistic() -> None:
    """Judd's trapezoids add half a fixated location's share of the false positives at the last threshold."""
    a, truth = maps(0), maps(1) > 0.7
    for k in range(3):
        x, y = a[k].flatten().numpy(), truth[k].flatten().numpy()
        false = (x[~y] >= x[y].min()).mean()
        assert auc_judd(a, truth)[k].item() == pytest.approx(roc_auc_score(y, x) + false / (2 * y.sum()), abs=1e-12)


def test_ties_are_broken_by_the_seed() -> None:
    a, truth = maps(0, ties=True), maps(1) > 0.7
    assert torch.equal(auc_judd(a, truth, seed=3), auc_judd(a, truth, seed=3))
    means = torch.stack([auc_judd(a, truth, seed=seed) for seed in range(200)]).mean(0)
    for k in range(3):  # on average half of the tied pairs are in order, as the statistic counts them
        x, y = a[k].flatten().numpy(), truth[k].flatten().numpy()
        assert means[k].item() == pytest.approx(roc_auc_score(y, x) + 0.5 / y.sum(), abs=0.01)
    empty = torch.zeros(1, 20, 20)
    empty[0, 0, 0] = 1
    overlaps = [dice(top_share(empty, 0.2, seed), top_share(empty, 0.2, seed + 1)).item() for seed in range(0, 20, 2)]
    assert 0.15 < np.mean(overlaps) < 0.27  # a fifth by chance; in reading order it would be 1


@pytest.mark.parametrize("ties", [False, True])
def test_the_highest_are_marked(ties: bool) -> None:
    """Exactly so many, of which none is below one that is not marked."""
    a = maps(0, ties)
    for share, count in ((0.3, 19), (1 / 63, 1), (1.0, 63)):
        for values, marked in zip(a, top_share(a, share), strict=True):
            assert marked.sum() == count
            assert count == 63 or values[marked].min() >= values[~marked].max()


def test_overlaps_against_scikit_learn() -> None:
    a, b = top_share(maps(0), 0.3), top_share(maps(1), torch.tensor([0.1, 0.3, 0.5]))
    assert a.flatten(1).sum(1).tolist() == [19] * 3 and b.flatten(1).sum(1).tolist() == [6, 19, 32]
    for k in range(3):
        x, y = a[k].flatten().numpy(), b[k].flatten().numpy()
        assert jaccard(a, b)[k].item() == pytest.approx(jaccard_score(x, y))
        assert dice(a, b)[k].item() == pytest.approx(f1_score(x, y))


Compare = Callable[[Tensor, Tensor], Tensor]


@pytest.mark.parametrize("compare", [pcc, rank_correlation, sim, kl])
@pytest.mark.parametrize("value", [0.0, 0.3])
def test_constant_maps_have_no_similarity(compare: Compare, value: float) -> None:
    """Also those that interpolation has left constant but for the last bits."""
    constant = torch.full((3, 9, 7), value)
    constant[1] *= 1 + torch.finfo(torch.float32).eps
    other = maps(0).float()
    for pair in ((constant, other), (other, constant)):
        assert compare(*pair).isnan().all()
    assert compare(other, other).isfinite().all()


def test_constant_maps_and_masks() -> None:
    other, truth, constant = maps(0), maps(1) > 0.5, torch.ones(3, 9, 7, dtype=torch.float64)
    for compare in (nss, auc_judd):
        assert compare(constant, truth).isnan().all() and compare(other, truth).isfinite().all()
        assert compare(other, torch.zeros_like(truth)).isnan().all()
    nothing = top_share(other, 0.0)
    assert not nothing.any() and dice(nothing, truth).isnan().all() and jaccard(truth, nothing).isnan().all()


def test_wrong_maps() -> None:
    with pytest.raises(UserError, match=r"maps are \(1, 2, 2\) and \(3, 9, 7\)"):
        pcc(A, maps(0))
    with pytest.raises(UserError, match="NaN or infinity"):
        cosine(A, B / 0)
    with pytest.raises(UserError, match="negative value"):
        sim(-A, B)
    with pytest.raises(UserError, match=r"share is 1\.5"):
        top_share(A, 1.5)
    with pytest.raises(UserError, match="booleans of one size"):
        dice(A, B)
    assert set(similarity.__all__) >= {"pcc", "sim", "kl", "auc_judd", "nss", "jaccard", "dice"}
