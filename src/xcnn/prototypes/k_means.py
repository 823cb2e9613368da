"""k-means over rows that need not fit in memory: seeded on a sample of them, then Lloyd's algorithm over all.

Seeding is k-means++ (Arthur & Vassilvitskii 2007) in scikit-learn's greedy variant: of `2 + log(k)` candidates a step,
the one that leaves the least inertia. Several tries are made at once on a sample of the rows, and the best of them
starts the passes over all rows. A pass takes each row's nearest centroid from one matrix product, of those rows only
whose centroid may have changed by the distances of an earlier pass (Hamerly 2010), and moves the rows that did from one
sum to the other, in float64 across pieces. When to stop, and the farthest row for an empty cluster, are scikit-learn's.
So the same start gives its result.
"""

import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import conv2d
from torch.nn.utils.rnn import pad_sequence

from xcnn.errors import UserError

Rows = Tensor | Callable[[], Iterable[Tensor]]

PIECE_BYTES = 2**26  # of rows that are compared at a time
SETTLED = 0.02  # of the rows change cluster in a pass: bounds are worth their cost from the next on
RENEWED = 0.25  # of the first piece's rows change cluster: then all rows are summed again, not those that move
CANCELLED = 0.05  # inertia over the sum of squares below which expanded distances have lost too many digits
FAR = 4.0  # |mean|^2 over the rows' total variance from which the mean is subtracted, for the sake of the digits
TALL, WIDE = 1024, 256  # rows and features from which a 1 x 1 convolution is the faster product with few centroids
LEAST_ROWS = 256  # of a piece, below which the calls cost more than the arithmetic


def nearest(rows: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Index of each row's nearest centroid, ties to the lowest, and its squared distance.

    Distances are |x|^2 - 2 x.c + |c|^2, clamped at 0, in the dtype of the rows: off by its precision times |x|^2.

    Args:
        rows: (..., n, d).
        centroids: (..., k, d).

    Returns:
        labels (..., n) int64 and squared distances (..., n).
    """
    scores, labels = (centroids.square().sum(-1)[..., None, :] - 2 * rows @ centroids.mT).min(-1)
    return labels, scores.add_(rows.square().sum(-1)).clamp_(min=0)


class KMeans:
    """k-means of one set of rows, or of many small ones at once.

    Args:
        n_clusters: k.
        n_init: tries on the sample.
        max_iter: of Lloyd's algorithm, on the sample and on all rows.
        tol: stop when the squared shift of all centroids is at most this times the mean variance of the features.
        seed: of the sample and of the tries.
        sample: rows that the tries see; those of a smaller set are all seen, and no further pass follows.

    After `fit`, or after `fit_each` with a leading dimension of the sets:
        centroids_: (k, d), in the rows' dtype, float32 at least.
        inertia_: sum of the squared distances to the nearest centroid, () float64.
        counts_: rows of each cluster, (k,) int64.
        n_iter_: iterations of the last run of Lloyd's algorithm, () int64.

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
        """Cluster rows (n, d). Beside them it holds a piece of them, the sample, and nine bytes a row.

        Args:
            rows: (n, d), or what yields chunks (m, d) of them: the same at each call, one call a pass.
            start: centroids (k, d) to start from, in place of seeding.

        Raises:
            UserError: fewer rows than clusters, rows that are not finite, or shapes that do not fit.
        """
        stream = _Stream(rows)
        self._check(stream.n, start, (self.n_clusters, stream.width))
        if start is None and stream.n <= self.sample:
            held = _Held([stream.rows()])
            return self._keep(held, *self._tried(held), one=True)
        if start is None:
            held = _Held([stream.rows(sorted(random.Random(self.seed).sample(range(stream.n), self.sample)))])
            start = self._tried(held)[0][0] + held.mean[0]
        centred = (start.to(stream.mean) - stream.mean[0])[None, None]
        clusters = _Clusters(stream, 1, self.n_clusters)
        centroids, n_iter = _lloyd(clusters, centred, self.max_iter, self.tol)
        return self._keep(stream, centroids[:, 0], n_iter[:, 0], clusters, one=True)

    @torch.no_grad()
    def fit_each(self, problems: Sequence[Tensor], start: Tensor | None = None) -> Self:
        """Cluster sets of rows (n_b, d), all at once: each as `fit` clusters one of at most `sample` rows.

        Args:
            problems: the B sets, which are held in memory, padded to the largest.
            start: centroids (B, k, d) to start from, in place of seeding.

        Raises:
            UserError: no sets, or as `fit`.
        """
        if not problems:
            raise UserError("there are no sets of rows to cluster: pass at least one.")
        streams = [_Stream(rows) for rows in problems]
        for stream in streams:
            if stream.width != streams[0].width:
                raise UserError(f"sets have rows of {streams[0].width} and of {stream.width} features: pass one width.")
            self._check(stream.n, start, (len(streams), self.n_clusters, stream.width))
        held = _Held([stream.rows() for stream in streams])
        if start is None:
            return self._keep(held, *self._tried(held))
        clusters = _Clusters(held, 1, self.n_clusters)
        centroids, n_iter = _lloyd(clusters, (start.to(held.mean) - held.mean)[:, None], self.max_iter, self.tol)
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
        pieces = rows.split(_piece_rows(rows), -2)
        return torch.cat([nearest(piece - centre, self.centroids_ - centre)[0] for piece in pieces], -1)

    def _check(self, n: int, start: Tensor | None, shape: tuple[int, ...]) -> None:
        if n < self.n_clusters:
            raise UserError(f"{n} rows do not make {self.n_clusters} clusters: pass more rows or lower n_clusters.")
        if start is not None and (start.shape != shape or not start.isfinite().all()):
            raise UserError(f"start is {tuple(start.shape)}; pass finite centroids {shape}.")

    def _tried(self, held: "_Held") -> tuple[Tensor, Tensor]:
        """Centroids (B, k, d) and iterations (B,) of the best try for each set."""
        starts = _plus_plus(held, self.n_clusters, self.n_init, self.seed)
        centroids, n_iter = _lloyd(_Clusters(held, self.n_init, self.n_clusters), starts, self.max_iter, self.tol)
        inertia = torch.zeros_like(n_iter, dtype=torch.float64)
        for where, piece in held.centred():
            least = _scores(piece, centroids).amin(2)
            if held.padding is not None:
                least.masked_fill_(held.padding[:, None, where], 0)
            inertia += least.sum(2, dtype=torch.float64)
        every = torch.arange(len(inertia), device=inertia.device)
        best = inertia.argmin(1)
        return centroids[every, best], n_iter[every, best]

    def _keep(
        self,
        rows: "_Stream | _Held",
        centroids: Tensor,
        n_iter: Tensor,
        clusters: "_Clusters | None" = None,
        one: bool = False,
    ) -> Self:
        inertia, counts = _inertia(rows, centroids, clusters)
        kept = centroids + rows.mean, inertia, counts, n_iter
        self.centroids_, self.inertia_, self.counts_, self.n_iter_ = (x[0] if one else x for x in kept)
        return self


class _Stream:
    """Rows in memory or in chunks, as one set (B = 1): checked and measured when made, then given piece by piece.

    Attributes:
        mean: (1, 1, d), what is subtracted from the rows: their mean where they are far from the origin, else 0.
        lengths: (n,), the rows' squared lengths then.
        variance: (1,) float64, the mean variance of the features.
    """

    padding = None

    def __init__(self, rows: Rows):
        self._chunks = (lambda: (rows,)) if isinstance(rows, Tensor) else rows
        self.n, self.width, self.dtype, total = 0, -1, torch.float32, torch.zeros(())
        lengths = []
        for piece in self._pieces():
            total = total + piece.sum(0, dtype=self.dtype).double()
            lengths.append(_squared_lengths(piece.to(self.dtype)))
            self.n += len(piece)
        if not self.n:
            raise UserError("there are no rows to cluster: pass some, or a callable that yields some at each call.")
        if not total.isfinite().all():
            bad = sum(int((~piece.isfinite().all(1)).sum()) for piece in self._pieces())
            raise UserError(f"{bad} of {self.n} rows hold NaN or infinity: mend what computes them, or leave them out.")
        self.sizes, self.lengths, mean = torch.tensor([self.n], device=total.device), torch.cat(lengths), total / self.n
        self.mean = torch.zeros_like(mean, dtype=self.dtype)[None, None]
        variance = self.lengths.mean(dtype=torch.float64) - mean.square().sum()
        if mean.square().sum() > FAR * variance:
            self.mean = mean.to(self.dtype)[None, None]
            self.lengths = torch.cat([_squared_lengths(pieces[0]) for _, pieces in self.centred()])
            variance = self.lengths.mean(dtype=torch.float64)
        self.variance = variance[None] / self.width

    def _pieces(self) -> Iterator[Tensor]:
        """The rows as they are, (m, d) at a time."""
        for chunk in self._chunks():
            if chunk.ndim != 2:
                raise UserError(f"rows are {tuple(chunk.shape)}; pass them, or yield chunks of them, as (n, d).")
            if self.width == -1:
                self.width, self.dtype = chunk.shape[1], torch.promote_types(chunk.dtype, torch.float32)
            if chunk.shape[1] != self.width:
                raise UserError(f"chunks have {self.width} and {chunk.shape[1]} features: yield one width.")
            if len(chunk):
                yield from chunk.split(_piece_rows(chunk))

    def placed(self) -> Iterator[tuple[slice, Tensor]]:
        """The rows as they are, (m, d) at a time, and their places."""
        place = 0
        for piece in self._pieces():
            if place + len(piece) <= self.n:
                yield slice(place, place + len(piece)), piece
            place += len(piece)
        if place != self.n:
            raise UserError(f"a pass has {place} rows, the first had {self.n}: yield the same chunks at each call.")

    def rows(self, chosen: Sequence[int] | None = None) -> Tensor:
        """The rows, or those chosen by ascending place, as one tensor."""
        if chosen is None:
            return torch.cat([piece for _, piece in self.placed()]).to(self.dtype)
        places = torch.tensor(chosen)
        parts = []
        for where, piece in self.placed():
            low, high = torch.searchsorted(places, torch.tensor([where.start, where.stop])).tolist()
            parts.append(piece[(places[low:high] - where.start).to(piece.device)].to(self.dtype))
        return torch.cat(parts)

    def centred(self) -> Iterator[tuple[slice, Tensor]]:
        """Pieces (1, m, d) less the mean, and their places."""
        for where, piece in self.placed():
            yield where, self.less_mean(piece)[None]

    def less_mean(self, rows: Tensor) -> Tensor:
        return rows - self.mean[0] if self.mean.any() else rows.to(self.dtype)


class _Held:
    """Sets of rows in memory, centred and padded with zeros to (B, n, d)."""

    def __init__(self, sets: Sequence[Tensor]):
        self.mean = torch.stack([rows.mean(0, keepdim=True) for rows in sets])
        self.data = pad_sequence([rows - mean for rows, mean in zip(sets, self.mean, strict=True)], batch_first=True)
        self.n, self.width = self.data.shape[1:]
        self.sizes = torch.tensor([len(rows) for rows in sets], device=self.data.device)
        places = torch.arange(self.n, device=self.data.device)
        self.padding = places >= self.sizes[:, None] if len(sets) > 1 else None
        squares = _squared_lengths(self.data).sum(1, dtype=torch.float64)
        self.variance = squares / (self.sizes * self.width)  # (B,), mean over the features

    def centred(self) -> Iterator[tuple[slice, Tensor]]:
        step = _piece_rows(self.data[0], len(self.data))
        for place in range(0, self.n, step):
            where = slice(place, min(place + step, self.n))
            yield where, self.data[:, where]


_Source = _Stream | _Held


def _piece_rows(rows: Tensor, sets: int = 1) -> int:
    row_bytes = sets * rows.shape[-1] * max(rows.element_size(), 4)
    return max(LEAST_ROWS, PIECE_BYTES // max(row_bytes, 1))


def _plus_plus(held: _Held, k: int, tries: int, seed: int) -> Tensor:
    """Greedy k-means++ of each set, `tries` times: (B, tries, k, d). Sets share their random numbers."""
    data, device = held.data, held.data.device
    generator = torch.Generator().manual_seed(seed)
    trials = 2 + int(math.log(k))
    first = torch.rand(tries, generator=generator, dtype=torch.float64).to(device)
    draws = torch.rand(k - 1, tries, trials, generator=generator, dtype=torch.float64).to(device)
    every = torch.arange(len(data), device=device)[:, None]
    squares = data.square().sum(-1)
    last = held.sizes[:, None] - 1

    def distances(chosen: Tensor) -> Tensor:
        """Of rows `chosen` (B, tries, c) to all: (B, tries, c, n), 0 for padding."""
        rows = data[every, chosen.flatten(1)]
        found = torch.baddbmm(squares[:, None], rows, data.mT, alpha=-2).add_(rows.square().sum(-1, keepdim=True))
        found = found.clamp_(min=0).unflatten(1, chosen.shape[1:])
        return found if held.padding is None else found.masked_fill_(held.padding[:, None, None], 0)

    chosen = [(first * held.sizes[:, None]).long()]  # (B, tries) of each step
    closest = distances(chosen[0][..., None])[:, :, 0]
    for draw in draws:
        sums = closest.double().cumsum(-1)
        candidates = torch.searchsorted(sums, draw * sums[..., -1:], right=True).minimum(last[..., None])
        found = distances(candidates).minimum(closest[:, :, None])
        best = found.sum(-1, dtype=torch.float64).argmin(-1, keepdim=True)
        chosen.append(candidates.gather(2, best)[..., 0])
        closest = found.gather(2, best[..., None].expand(-1, -1, -1, held.n))[:, :, 0]
    return data[every[..., None], torch.stack(chosen, -1)]


class _Bounds:
    """How much nearer each row is to its centroid than to any other, at least (Hamerly 2010).

    A row's lead shrinks by no more than its own centroid's step and the largest of the others'. While it is above 0,
    the row stays where it is, and need not be looked at: the result is Lloyd's. Leads are lowered by what rounding may
    hide.
    """

    def __init__(self, rows: "_Stream"):
        self.rows, self.leads, self.centroids = rows, torch.zeros_like(rows.lengths), torch.empty(0)
        self.error = 64 * torch.finfo(self.leads.dtype).eps

    def move(self, centroids: Tensor, labels: Tensor) -> None:
        """Lower all leads for centroids (k, d) that have moved; labels (n,) are the rows' clusters so far."""
        if len(self.centroids):
            steps = torch.linalg.vector_norm(centroids - self.centroids, dim=1) * (1 + self.error)
            largest, second = steps.topk(2).values
            others = torch.where(torch.arange(len(steps), device=steps.device) == steps.argmax(), second, largest)
            self.leads -= (steps + others)[labels.long()]
        self.centroids = centroids

    def open(self, where: slice) -> Tensor:
        """Which rows of a piece may have another nearest centroid: indices within the piece."""
        return (self.leads[where] <= 0).nonzero()[:, 0]

    def close(self, rows: Tensor, scores: Tensor, least: Tensor, nearest: Tensor, offsets: Tensor) -> None:
        """Note the leads of rows (m,), of their scores (k, m), overwritten, the least of these and where it is."""
        lengths = self.rows.lengths[rows]
        next_best = scores.scatter_(0, nearest[None], torch.inf).amin(0)
        own, other = ((score + lengths).clamp_(min=0).sqrt_() for score in (least, next_best))
        hidden = self.error * (lengths + offsets.max()) / other.clamp(min=torch.finfo(other.dtype).tiny)
        self.leads[rows] = other.sub_(own).sub_(hidden)


class _Clusters:
    """Which row is in which cluster, for T tries on each of B sets, with the clusters' sums and sizes.

    Label k means in none: so begin all rows, and so stay those of the padding.
    """

    def __init__(self, rows: _Source, tries: int, k: int):
        self.rows, self.k = rows, k
        shape, device = (len(rows.mean), tries, k + 1), rows.mean.device
        kind = torch.uint8 if k < 2**8 else torch.int16 if k < 2**15 else torch.int32
        self.labels = torch.full((shape[0], rows.n, tries), k, dtype=kind, device=device)
        self.counts = torch.zeros(shape, dtype=torch.float64, device=device)
        self.sums = torch.zeros((*shape, rows.width), dtype=torch.float64, device=device)
        self.bounds = _Bounds(rows) if isinstance(rows, _Stream) and k > 1 else None
        self.settled = False  # bounds are not worth their cost before

    def keep(self, tries: Tensor) -> None:
        self.labels, self.counts, self.sums = self.labels[..., tries], self.counts[:, tries], self.sums[:, tries]

    def assign(self, centroids: Tensor) -> Tensor:
        """Put every row to its nearest of centroids (B, T, k, d), and say how many changed cluster, (B, T)."""
        if self.bounds is not None:
            return self._assign_within(self.bounds, centroids[0, 0])[None, None]
        changed = torch.zeros(self.counts.shape[:2], dtype=torch.int64, device=centroids.device)
        for where, piece in self.rows.centred():
            labels = _scores(piece, centroids).min(2).indices.mT
            if self.rows.padding is not None:
                labels = labels.masked_fill(self.rows.padding[:, where, None], self.k)
            before = self.labels[:, where].long()
            moves = before != labels
            if not moves.any():
                continue
            changed += moves.sum(1)
            some = moves.any(-1).any(0).nonzero()[:, 0]
            self.labels[:, where] = labels.to(self.labels.dtype)
            if len(some) < piece.shape[1]:
                piece, labels, before = piece[:, some], labels[:, some], before[:, some]
            # +1 in the column of the cluster a row goes to, -1 in that of the one it leaves.
            weights = piece.new_zeros(*labels.shape, self.k + 1).scatter_(-1, labels[..., None], 1)
            weights.scatter_add_(-1, before[..., None], weights.new_tensor(-1).expand_as(before[..., None]))
            self.counts += weights.sum(1, dtype=torch.float64)
            self.sums += (weights.flatten(2).mT @ piece).double().view_as(self.sums)
        return changed

    def _assign_within(self, bounds: "_Bounds", centroids: Tensor) -> Tensor:
        """The same of one set and one try, for those rows only that may have another nearest centroid by now."""
        rows, labels, offsets = bounds.rows, self.labels[0, :, 0], centroids.square().sum(1, keepdim=True)
        bounds.move(centroids, labels)
        whole, afresh = not (bounds.leads > 0).any(), False
        changed = torch.zeros((), dtype=torch.int64, device=centroids.device)
        for where, piece in rows.placed():
            some = bounds.open(where)
            if not len(some):
                continue
            if 3 * len(some) > len(piece):
                some = torch.arange(len(piece), device=some.device)
            else:
                piece = piece[some]
            piece, some = rows.less_mean(piece), some + where.start
            scores = _scores(piece[None], centroids[None, None])[0, 0]
            least, found = scores.min(0)
            if self.settled:
                bounds.close(some, scores, least, found, offsets)
            before = labels[some].long()
            moves = before != found
            n_moved = int(moves.sum())
            if whole and not where.start and n_moved > RENEWED * len(piece):
                afresh = True
                self.sums.zero_(), self.counts.zero_()
            if not n_moved and not afresh:
                continue
            changed += n_moved
            labels[some] = found.to(labels.dtype)
            if not afresh:
                piece, found, before = piece[moves], found[moves], before[moves]
                self._add(piece, before, -1)
            self._add(piece, found, 1)
        self.settled = int(changed) < SETTLED * rows.n
        return changed

    def _add(self, rows: Tensor, labels: Tensor, sign: int) -> None:
        """Put rows (m, d) into the clusters that they are in by labels (m,), or take them out (sign -1)."""
        self.sums[0, 0] += sign * _sums(rows, labels, self.k + 1).double()
        self.counts[0, 0] += sign * labels.bincount(minlength=self.k + 1)

    def inertia(self, centroids: Tensor) -> tuple[Tensor, Tensor]:
        """Of one set: the sum of squared distances () to the nearest of centroids (k, d), and the clusters' sizes (k,).

        From the clusters' sums: sum |x|^2 - 2 sum_k c_k . S_k + sum_k n_k |c_k|^2.
        """
        assert self.bounds is not None
        self.assign(centroids[None, None])
        sums, counts, wide = self.sums[0, 0, : self.k], self.counts[0, 0, : self.k], centroids.double()
        squares = self.bounds.rows.lengths.sum(dtype=torch.float64)
        return squares - 2 * (wide * sums).sum() + counts @ wide.square().sum(1), counts.long()

    def means(self, centroids: Tensor) -> Tensor:
        """The clusters' means (B, T, k, d), after the farthest rows from `centroids` have gone to the empty ones."""
        counts, sums = self.counts[..., : self.k].clone(), self.sums[..., : self.k, :].clone()
        for b, t in (counts == 0).any(-1).nonzero().tolist():
            self._relocate(b, t, centroids[b, t], counts[b, t], sums[b, t])
        means = sums / counts[..., None]
        largest = means.gather(2, counts.argmax(-1)[..., None, None].expand(-1, -1, 1, means.shape[-1]))
        return torch.where(counts[..., None] > 0, means, largest).to(centroids.dtype)

    def _relocate(self, b: int, t: int, centroids: Tensor, counts: Tensor, sums: Tensor) -> None:
        """Give each empty cluster the farthest row from its centroid, one row each, as scikit-learn does."""
        empty = (counts == 0).nonzero()[:, 0]
        distances, labels, rows = centroids.new_empty(0), empty[:0], centroids[:0]
        for where, pieces in self.rows.centred():
            piece, own = pieces[b], self.labels[b, where, t].long()
            found = (piece - centroids[own.clamp(max=self.k - 1)]).square_().sum(-1).masked_fill_(own == self.k, -1)
            distances, order = torch.cat([distances, found]).sort(descending=True, stable=True)
            order = order[: len(empty)]
            distances = distances[: len(empty)]
            labels, rows = torch.cat([labels, own])[order], torch.cat([rows, piece])[order]
        if distances[0] <= 0:  # fewer distinct rows than clusters
            return
        for cluster, label, row in zip(empty, labels, rows.double(), strict=True):
            sums[label] -= row
            counts[label] -= 1
            sums[cluster], counts[cluster] = row, 1


def _lloyd(clusters: _Clusters, start: Tensor, max_iter: int, tol: float) -> tuple[Tensor, Tensor]:
    """Lloyd's algorithm from centred centroids (B, T, k, d): where they end, and after how many iterations (B, T)."""
    sets, tries, rows = start.shape[0], start.shape[1], clusters.rows
    found, n_iter = start.clone(), torch.zeros(sets, tries, dtype=torch.int64, device=start.device)
    centroids, running = start, torch.arange(tries, device=start.device)
    done = torch.zeros_like(n_iter, dtype=torch.bool)
    for _ in range(max_iter):
        changed = clusters.assign(centroids)
        means = torch.where(done[..., None, None], centroids, clusters.means(centroids))
        shifts = (means - centroids).double().square().sum((-1, -2))
        n_iter[:, running] += ~done
        done |= (changed == 0) | (shifts <= tol * rows.variance[:, None])
        found[:, running] = centroids = means
        if done.all():
            break
        if (ended := done.all(0)).any():
            clusters.keep(~ended)
            centroids, done, running = centroids[:, ~ended], done[:, ~ended], running[~ended]
    return found, n_iter


def _inertia(rows: _Source, centroids: Tensor, clusters: _Clusters | None = None) -> tuple[Tensor, Tensor]:
    """Sum of squared distances (B,) float64 to the nearest of centred centroids (B, k, d), and the clusters' sizes.

    The distances are of the differences, exact also where they are small beside the rows.
    """
    if clusters is not None and clusters.bounds is not None:
        inertia, counts = clusters.inertia(centroids[0])
        if inertia > CANCELLED * clusters.bounds.rows.lengths.sum(dtype=torch.float64):
            return inertia[None], counts[None]
    inertia = torch.zeros(len(centroids), dtype=torch.float64, device=centroids.device)
    counts = torch.zeros(len(centroids), centroids.shape[1] + 1, dtype=torch.int64, device=centroids.device)
    first = centroids.shape[1] * torch.arange(len(centroids), device=centroids.device)[:, None]
    for where, piece in rows.centred():
        labels = _scores(piece, centroids[:, None])[:, 0].min(1).indices
        own = centroids.flatten(0, 1).index_select(0, (labels + first).flatten()).view_as(piece)
        distances = torch.linalg.vector_norm(own.sub_(piece), dim=-1).square_()
        if rows.padding is not None:
            distances.masked_fill_(rows.padding[:, where], 0)
            labels.masked_fill_(rows.padding[:, where], centroids.shape[1])
        inertia += distances.sum(1, dtype=torch.float64)
        counts.scatter_add_(1, labels, torch.ones_like(labels))
    return inertia, counts[:, :-1]


def _squared_lengths(rows: Tensor) -> Tensor:
    """(..., d) to (...)."""
    return torch.linalg.vector_norm(rows, dim=-1).square_()


def _sums(rows: Tensor, labels: Tensor, k: int) -> Tensor:
    """Sum of the rows (m, d) of each label in 0..k - 1: (k, d), the same at every run."""
    if rows.device.type == "cpu":
        return rows.new_zeros(k, rows.shape[1]).index_add_(0, labels, rows)
    weights = rows.new_zeros(len(rows), k).scatter_(1, labels[:, None], 1)
    return weights.T @ rows


def _scores(piece: Tensor, centroids: Tensor) -> Tensor:
    """Squared distances of rows (B, m, d) to centroids (B, T, k, d), less the rows' squared lengths: (B, T, k, m)."""
    flat = centroids.flatten(1, 2)
    offsets = flat.square().sum(-1, keepdim=True)
    sets, m, width = piece.shape
    if sets == 1 and piece.device.type == "cpu" and piece.dtype == torch.float32 and m >= TALL and width >= WIDE:
        image = piece.view(1, m, 1, width).permute(0, 3, 1, 2)  # m pixels of d channels
        products = conv2d(image, -2 * flat[0, :, :, None, None])[..., 0].contiguous().add_(offsets)
    else:
        products = torch.baddbmm(offsets, flat, piece.mT, alpha=-2)
    return products.unflatten(1, centroids.shape[1:3])
