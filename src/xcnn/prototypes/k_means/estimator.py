"""The `KMeans` estimator: options, checks, and the way from rows to centroids."""

import random
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from xcnn.errors import UserError
from xcnn.prototypes.k_means.distances import nearest, relative_distances
from xcnn.prototypes.k_means.lloyd import Clusters, inertia_and_counts, lloyd
from xcnn.prototypes.k_means.rows import HeldRows, Rows, RowSource, RowStream, rows_per_piece
from xcnn.prototypes.k_means.seeding import k_means_plus_plus


class KMeans:
    """k-means of one set of rows, or of many small ones at once.

    Args:
        n_clusters: number of clusters k.
        n_init: number of tries on the sample.
        max_iter: largest number of iterations of Lloyd's algorithm, on the sample and on all rows.
        tol: squared shift of all centroids, relative to the mean variance of the features, at which to stop.
        seed: random seed of the sample and of the tries.
        sample: number of rows that the tries see; a smaller set is seen whole, and no further pass follows.

    After `fit`, or after `fit_each` with a leading dimension of the sets:
        centroids_: cluster means (k, d), in the rows' dtype, float32 at least.
        inertia_: sum of the squared distances to the nearest centroid, () float64.
        counts_: number of rows in each cluster, (k,) int64.
        n_iter_: number of iterations of the last run of Lloyd's algorithm, () int64.

    Raises:
        UserError: an argument is out of range.
    """

    centroids_: Tensor
    inertia_: Tensor
    counts_: Tensor
    n_iter_: Tensor

    def __init__(
        self,
        n_clusters: int,
        n_init: int = 10,
        max_iter: int = 300,
        tol: float = 1e-4,
        seed: int = 0,
        sample: int = 20_000,
    ):
        for name, value in (("n_clusters", n_clusters), ("n_init", n_init), ("max_iter", max_iter)):
            if value < 1:
                raise UserError(f"{name} is {value}; choose 1 or more.")
        if not tol >= 0:
            raise UserError(f"tol is {tol}; choose 0 or more.")
        if sample < n_clusters:
            raise UserError(f"sample is {sample}; choose at least the {n_clusters} clusters.")
        self.n_clusters, self.n_init, self.max_iter = n_clusters, n_init, max_iter
        self.tol, self.seed, self.sample = tol, seed, sample

    @torch.no_grad()
    def fit(self, rows: Rows, start: Tensor | None = None) -> Self:
        """Cluster rows (n, d). Memory: a piece of them, the sample, and nine bytes a row.

        Args:
            rows: (n, d), or a callable that yields chunks (m, d) of them: the same at each call, one call a pass.
            start: centroids (k, d) to start from, in place of seeding.

        Raises:
            UserError: fewer rows than clusters, rows that are not finite, or shapes that do not fit.
        """
        stream = RowStream(rows)
        self._check(stream.n, start, (self.n_clusters, stream.width))
        if start is None and stream.n <= self.sample:
            held = HeldRows([stream.rows()])
            return self._keep(held, *self._tried(held), one=True)
        if start is None:
            held = HeldRows([stream.rows(sorted(random.Random(self.seed).sample(range(stream.n), self.sample)))])
            start = self._tried(held)[0][0] + held.mean[0]
        centred = (start.to(stream.mean) - stream.mean[0])[None, None]
        clusters = Clusters(stream, 1, self.n_clusters)
        centroids, n_iter = lloyd(clusters, centred, self.max_iter, self.tol)
        return self._keep(stream, centroids[:, 0], n_iter[:, 0], clusters, one=True)

    @torch.no_grad()
    def fit_each(self, problems: Sequence[Tensor], start: Tensor | None = None) -> Self:
        """Cluster sets of rows (n_b, d), all at once: each as `fit` clusters one of at most `sample` rows.

        Args:
            problems: B sets, held in memory and padded to the largest.
            start: centroids (B, k, d) to start from, in place of seeding.

        Raises:
            UserError: no sets, or as `fit`.
        """
        if not problems:
            raise UserError("there are no sets of rows to cluster: pass at least one.")
        streams = [RowStream(rows) for rows in problems]
        for stream in streams:
            if stream.width != streams[0].width:
                raise UserError(f"sets have rows of {streams[0].width} and of {stream.width} features: pass one width.")
            self._check(stream.n, start, (len(streams), self.n_clusters, stream.width))
        held = HeldRows([stream.rows() for stream in streams])
        if start is None:
            return self._keep(held, *self._tried(held))
        clusters = Clusters(held, 1, self.n_clusters)
        centroids, n_iter = lloyd(clusters, (start.to(held.mean) - held.mean)[:, None], self.max_iter, self.tol)
        return self._keep(held, centroids[:, 0], n_iter[:, 0])

    @torch.no_grad()
    def predict(self, rows: Tensor) -> Tensor:
        """Each row's nearest centroid, ties to the lowest: (n, d) -> (n,) int64; after `fit_each` (B, n, d) -> (B, n).

        Raises:
            UserError: shapes do not fit.
        """
        *sets, _, width = self.centroids_.shape
        if rows.ndim != len(sets) + 2 or [*rows.shape[:-2], rows.shape[-1]] != [*sets, width]:
            raise UserError(f"rows are {tuple(rows.shape)}; pass ({', '.join(map(str, [*sets, 'n', width]))}).")
        centre = self.centroids_.mean(-2, keepdim=True)
        pieces = rows.split(rows_per_piece(rows), -2)
        return torch.cat([nearest(piece - centre, self.centroids_ - centre)[0] for piece in pieces], -1)

    def _check(self, n: int, start: Tensor | None, shape: tuple[int, ...]) -> None:
        if n < self.n_clusters:
            raise UserError(f"{n} rows do not make {self.n_clusters} clusters: pass more rows or lower n_clusters.")
        if start is not None and (start.shape != shape or not start.isfinite().all()):
            raise UserError(f"start is {tuple(start.shape)}; pass finite centroids {shape}.")

    def _tried(self, held: HeldRows) -> tuple[Tensor, Tensor]:
        """Centroids (B, k, d) and iterations (B,) of the best try for each set."""
        starts = k_means_plus_plus(held, self.n_clusters, self.n_init, self.seed)
        centroids, n_iter = lloyd(Clusters(held, self.n_init, self.n_clusters), starts, self.max_iter, self.tol)
        inertia = torch.zeros_like(n_iter, dtype=torch.float64)
        for where, piece in held.centred():
            least = relative_distances(piece, centroids).amin(2)
            if held.padding is not None:
                least.masked_fill_(held.padding[:, None, where], 0)
            inertia += least.sum(2, dtype=torch.float64)
        every = torch.arange(len(inertia), device=inertia.device)
        best = inertia.argmin(1)
        return centroids[every, best], n_iter[every, best]

    def _keep(
        self,
        rows: RowSource,
        centroids: Tensor,
        n_iter: Tensor,
        clusters: Clusters | None = None,
        one: bool = False,
    ) -> Self:
        inertia, counts = inertia_and_counts(rows, centroids, clusters)
        kept = centroids + rows.mean, inertia, counts, n_iter
        self.centroids_, self.inertia_, self.counts_, self.n_iter_ = (x[0] if one else x for x in kept)
        return self
