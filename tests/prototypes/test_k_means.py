"""k-means against scikit-learn from the same start, and the laws of chunks, batches and seeds."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans as Oracle
from sklearn.cluster import kmeans_plusplus
from torch import Tensor

from xcnn.errors import UserError
from xcnn.metrics.cost import peak_bytes
from xcnn.prototypes.k_means import KMeans, distances, nearest
from xcnn.prototypes.k_means import rows as rows_module
from xcnn.prototypes.k_means.rows import HeldRows
from xcnn.prototypes.k_means.seeding import k_means_plus_plus


@pytest.fixture(autouse=True)
def _many_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "LEAST_ROWS", 64)
    monkeypatch.setattr(rows_module, "PIECE_BYTES", 0)


def blobs(n: int, d: int, centres: int, dtype: torch.dtype = torch.float64, apart: float = 1.0) -> Tensor:
    """Clusters that overlap, so that Lloyd takes many iterations, unless they are far `apart`."""
    generator = torch.Generator().manual_seed(0)
    middles = apart * torch.randn(centres, d, generator=generator, dtype=torch.float64)
    rows = middles[torch.randint(centres, (n,), generator=generator)]
    return (rows + torch.randn(n, d, generator=generator, dtype=torch.float64)).to(dtype)


def oracle(rows: Tensor, start: Tensor, max_iter: int = 300, tol: float = 1e-4) -> Oracle:
    return Oracle(len(start), init=start.numpy(), n_init=1, max_iter=max_iter, tol=tol, algorithm="lloyd").fit(rows)


def assert_same(found: KMeans, expected: KMeans, **tolerance: float) -> None:
    for name in ("counts_", "n_iter_"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    for name in ("centroids_", "inertia_"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), **{"rtol": 0, "atol": 0} | tolerance)


# From the same start


@pytest.mark.parametrize("tol", [0, 1e-4, 1e-2])
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_same_start_is_scikit_learns(dtype: torch.dtype, rtol: float, tol: float) -> None:
    rows = blobs(1500, 10, 6, dtype)
    expected = oracle(rows, rows[:5], tol=tol)
    found = KMeans(5, tol=tol).fit(rows, start=rows[:5])
    assert found.centroids_.dtype == dtype and found.inertia_.dtype == torch.float64
    assert found.inertia_.item() == pytest.approx(expected.inertia_, rel=rtol)
    assert found.predict(rows).tolist() == expected.labels_.tolist()
    assert found.counts_.tolist() == np.bincount(expected.labels_).tolist()
    np.testing.assert_allclose(found.centroids_.numpy(), expected.cluster_centers_, atol=10 * rtol)
    assert found.n_iter_.item() == expected.n_iter_ >= 5


def test_tolerance_is_relative_to_the_variance() -> None:
    rows = blobs(1500, 10, 6)
    every, coarse, scaled = (
        KMeans(5, tol=tol).fit(data, start=data[:5]) for data, tol in ((rows, 0), (rows, 1e-2), (32 * rows, 1e-2))
    )
    assert coarse.n_iter_ == scaled.n_iter_ < every.n_iter_


def test_stopped_early_the_inertia_is_that_of_the_final_centroids() -> None:
    rows = blobs(500, 4, 6)
    expected = oracle(rows, rows[:5], max_iter=3, tol=0)
    found = KMeans(5, max_iter=3, tol=0).fit(rows, start=rows[:5])
    assert found.n_iter_ == 3
    assert found.inertia_.item() == pytest.approx(expected.inertia_, rel=1e-12)
    assert found.inertia_.item() == pytest.approx(nearest(rows, found.centroids_)[1].sum().item(), rel=1e-12)


@pytest.mark.parametrize("far", [[1], [1, 3, 4]])
def test_empty_clusters_take_the_farthest_rows_as_scikit_learns(far: list[int]) -> None:
    rows = blobs(300, 2, 4)
    start = rows[:5].clone()
    start[far] = 100 * torch.arange(1.0, len(far) + 1, dtype=torch.float64)[:, None]
    expected = oracle(rows, start, tol=0)
    found = KMeans(5, tol=0).fit(rows, start=start)
    assert (found.counts_ > 0).all()
    assert found.inertia_.item() == pytest.approx(expected.inertia_, rel=1e-12)
    np.testing.assert_allclose(found.centroids_.numpy(), expected.cluster_centers_, atol=1e-12)


def test_a_large_mean_costs_no_accuracy() -> None:
    rows = blobs(1000, 20, 6, torch.float32) + 1e3
    exact = KMeans(5).fit(rows.double(), start=rows[:5].double())
    found = KMeans(5).fit(rows, start=rows[:5])
    assert found.n_iter_ == exact.n_iter_ and torch.equal(found.counts_, exact.counts_)
    assert found.inertia_.item() == pytest.approx(exact.inertia_.item(), rel=1e-6)
    assert torch.equal(found.predict(rows), exact.predict(rows.double()))


@pytest.mark.parametrize("sets", [1, 2])
@pytest.mark.parametrize(("m", "width"), [(distances.TALL, distances.WIDE), (distances.TALL - 1, 7)])
def test_scores_are_squared_distances_less_the_rows_lengths(sets: int, m: int, width: int) -> None:
    rows, centroids = torch.randn(sets, m, width), torch.randn(sets, 3, 4, width)
    found = distances.relative_distances(rows, centroids) + rows.square().sum(-1)[:, None, None]
    expected = torch.cdist(rows[:, None].double(), centroids.double()).square().mT
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5 * width)


@pytest.mark.parametrize("settled_first", [True, False])
def test_rows_that_settle_before_others_are_summed_once(settled_first: bool) -> None:
    slow = torch.linspace(0, 1, 4000, dtype=torch.float64)[torch.randperm(4000)][:, None].square()
    settled = torch.tensor([[-1e3], [-2e3]], dtype=torch.float64).repeat(100, 1)
    rows = torch.cat([settled, slow] if settled_first else [slow, settled])
    start = torch.tensor([[-1e3], [-2e3], [0.0], [0.01]], dtype=torch.float64)
    expected = oracle(rows, start, tol=0)
    found = KMeans(4, tol=0).fit(rows, start=start)
    assert found.n_iter_ == expected.n_iter_ > 10
    assert found.counts_.tolist() == np.bincount(expected.labels_).tolist()
    np.testing.assert_allclose(found.centroids_.numpy(), expected.cluster_centers_, rtol=1e-12, atol=1e-12)


# Chunks, batches, runs


@pytest.mark.parametrize("n_sampled", [200, 5000])
def test_chunked_is_whole(n_sampled: int) -> None:
    rows = blobs(1000, 6, 4)
    chunks = rows.split([1, 499, 0, 130, 370])
    options = {"n_init": 3, "sample": n_sampled}
    whole = KMeans(5, **options).fit(rows)
    assert_same(KMeans(5, **options).fit(lambda: chunks), whole, atol=1e-12, rtol=1e-12)
    start = rows[:5]
    assert_same(KMeans(5).fit(lambda: iter(chunks), start), KMeans(5).fit(rows, start), atol=1e-12, rtol=1e-12)


def test_batched_is_one_by_one() -> None:
    rows = blobs(700, 6, 8)
    sets = rows.split([5, 400, 95, 200])
    together = KMeans(5, n_init=4, seed=3).fit_each(sets)
    started = KMeans(5).fit_each(sets, start=rows[:20].view(4, 5, 6))
    assert len({*together.n_iter_.tolist()}) > 1
    for b, own in enumerate(sets):
        for batch, alone in (
            (together, KMeans(5, n_init=4, seed=3).fit(own)),
            (started, KMeans(5).fit(own, start=rows[5 * b : 5 * b + 5])),
        ):
            torch.testing.assert_close(batch.centroids_[b], alone.centroids_, rtol=0, atol=1e-12)
            torch.testing.assert_close(batch.inertia_[b], alone.inertia_, rtol=0, atol=1e-9)
            assert torch.equal(batch.counts_[b], alone.counts_) and batch.n_iter_[b] == alone.n_iter_


def test_predict_after_a_batch() -> None:
    sets = blobs(200, 6, 8).view(2, 100, 6)
    fitted = KMeans(3).fit_each([*sets])
    expected = torch.stack(
        [torch.cdist(own, centroids).argmin(1) for own, centroids in zip(sets, fitted.centroids_, strict=True)]
    )
    assert torch.equal(fitted.predict(sets), expected)


@pytest.mark.parametrize(("dtype", "sample"), [(torch.float32, 300), (torch.float64, 900)])
def test_the_seed_alone_decides(dtype: torch.dtype, sample: int) -> None:
    rows = blobs(900, 6, 30, dtype)
    untouched = rows.clone()
    first, again, other = (KMeans(5, n_init=1, seed=seed, sample=sample).fit(rows) for seed in (0, 0, 1))
    assert_same(first, again)
    assert not torch.equal(first.centroids_, other.centroids_)
    assert torch.equal(rows, untouched)


def test_memory_does_not_grow_with_the_rows() -> None:
    def chunks(count: int) -> Iterator[Tensor]:
        for seed in range(count):
            yield torch.randn(500, 32, generator=torch.Generator().manual_seed(seed))

    def peak(count: int) -> int:
        return peak_bytes(lambda: KMeans(3, n_init=2, max_iter=2, sample=400).fit(lambda: chunks(count)))

    assert peak(24) < peak(4) + 24 * 500 * 18  # nine bytes a row, twice while they are put together; a row takes 128


# Seeding


def test_seeding_is_as_good_as_scikit_learns() -> None:
    """Mean inertia of greedy k-means++ within four standard errors; the variant of one candidate is off by ten."""
    rows, tries = blobs(300, 2, 12, apart=4), 300
    starts = k_means_plus_plus(HeldRows([rows]), 10, tries, seed=0)[0] + rows.mean(0)
    theirs = np.stack([kmeans_plusplus(rows.numpy(), 10, random_state=seed)[0] for seed in range(tries)])
    ours, expected = (
        torch.cdist(rows, start).amin(-1).square().sum(-1) for start in (starts, torch.from_numpy(theirs))
    )
    assert (torch.cdist(rows, starts).amin(1) < 1e-6).all()  # rows, each of them
    error = (ours.var() / tries + expected.var() / tries).sqrt()
    assert (ours.mean() - expected.mean()).abs() < 4 * error


def test_seeded_on_a_sample_it_is_as_good_as_scikit_learn_on_all() -> None:
    rows = blobs(3000, 8, 7, torch.float32, apart=2)
    expected = Oracle(7, n_init=10, random_state=0).fit(rows).inertia_
    found = KMeans(7, sample=300).fit(rows)
    assert found.inertia_.item() <= 1.003 * expected
    assert found.counts_.sum() == 3000


@pytest.mark.parametrize("seed", range(3))
def test_as_many_clusters_as_rows(seed: int) -> None:
    rows = blobs(30, 3, 4, torch.float32)
    found = KMeans(30, n_init=1, seed=seed).fit(rows)
    assert found.counts_.tolist() == [1] * 30
    assert found.inertia_.item() == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("k", [10, 14])
def test_duplicates(k: int) -> None:
    """With fewer distinct rows than clusters, some stay empty, at another's centroid."""
    rows = blobs(10, 3, 4).repeat(20, 1)
    found = KMeans(k).fit(rows)
    assert found.inertia_.item() == pytest.approx(0, abs=1e-20)
    assert found.counts_.sum() == 200 and (found.counts_ > 0).sum() == 10
    assert found.centroids_.isfinite().all()


def test_half_precision_is_clustered_in_float32() -> None:
    rows = blobs(300, 3, 4, torch.float16)
    assert_same(KMeans(3).fit(rows), KMeans(3).fit(rows.float()))


# nearest


def test_nearest_by_hand() -> None:
    rows = torch.tensor([[0.0, 0.0], [1.0, 0.0], [3.0, 4.0]])
    labels, squares = nearest(rows, torch.tensor([[2.0, 0.0], [0.0, 0.0], [2.0, 0.0]]))
    assert labels.tolist() == [1, 0, 0]  # the second row is as far from all three, the third from the first and last
    assert squares.tolist() == [0, 1, 17]


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-5), (torch.float64, 1e-13)])
def test_nearest_of_batches(dtype: torch.dtype, atol: float) -> None:
    rows, centroids = blobs(60, 5, 3, dtype).view(2, 30, 5), blobs(8, 5, 3, dtype).view(2, 4, 5)
    labels, squares = nearest(rows, centroids)
    expected, chosen = torch.cdist(rows.double(), centroids.double()).square().min(-1)
    assert torch.equal(labels, chosen) and squares.dtype == dtype
    torch.testing.assert_close(squares.double(), expected, rtol=0, atol=atol)
    assert (nearest(rows[0], rows[0])[1] >= 0).all()


# Refusals


def test_refusals_of_rows() -> None:
    rows = torch.randn(10, 3)
    spoilt = rows.clone()
    spoilt[2, 1], spoilt[7] = torch.nan, torch.inf
    with pytest.raises(UserError, match="10 rows do not make 11 clusters"):
        KMeans(11).fit(rows)
    with pytest.raises(UserError, match="2 of 10 rows hold NaN"):
        KMeans(2).fit(spoilt)
    with pytest.raises(UserError, match=r"\(10, 3, 1\).*\(n, d\)"):
        KMeans(2).fit(rows[..., None])
    with pytest.raises(UserError, match=r"start is \(2, 4\).*\(2, 3\)"):
        KMeans(2).fit(rows, start=torch.zeros(2, 4))
    with pytest.raises(UserError, match="there are no rows"):
        KMeans(2).fit(lambda: [])
    with pytest.raises(UserError, match="3 and 2 features"):
        KMeans(2).fit(lambda: [rows, rows[:, :2]])
    with pytest.raises(UserError, match=r"rows are \(10, 2\); pass \(n, 3\)"):
        KMeans(2).fit(rows).predict(rows[:, :2])


@pytest.mark.parametrize("later", [[4], [4, 9]])
def test_refuses_another_number_of_rows_on_a_later_pass(later: list[int]) -> None:
    calls = iter([[4, 6], *[later] * 9])
    with pytest.raises(UserError, match=f"a pass has {sum(later)} rows, the first had 10"):
        KMeans(2, sample=5).fit(lambda: [torch.randn(n, 3) for n in next(calls)])


def test_refusals_of_sets_and_options() -> None:
    with pytest.raises(UserError, match="no sets"):
        KMeans(2).fit_each([])
    with pytest.raises(UserError, match="of 3 and of 4 features"):
        KMeans(2).fit_each([torch.randn(5, 3), torch.randn(5, 4)])
    with pytest.raises(UserError, match="1 rows do not make 2"):
        KMeans(2).fit_each([torch.randn(5, 3), torch.randn(1, 3)])
    for name, value in (("n_clusters", 0), ("n_init", 0), ("max_iter", 0), ("tol", -1.0), ("sample", 1)):
        with pytest.raises(UserError, match=f"{name} is {value}"):
            KMeans(**{"n_clusters": 2} | {name: value})
