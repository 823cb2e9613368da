"""Lloyd's algorithm for several tries on several sets of rows at once."""

import torch
from torch import Tensor

from xcnn.prototypes.k_means.bounds import DistanceBounds
from xcnn.prototypes.k_means.distances import cluster_sums, relative_distances
from xcnn.prototypes.k_means.rows import RowSource, RowStream

SETTLED = 0.02  # share of rows that change cluster in a pass, below which bounds are worth their cost from the next on
RENEWED = 0.25  # share of the first piece's rows that change cluster, above which all rows are summed again
CANCELLED = 0.05  # inertia over the sum of squares below which expanded distances have lost too many digits


class Clusters:
    """Labels of the rows, and sums and sizes of the clusters, for T tries on each of B sets.

    Label k stands for no cluster: all rows begin with it, and padding keeps it.
    """

    def __init__(self, rows: RowSource, tries: int, k: int):
        self.rows, self.k = rows, k
        shape, device = (len(rows.mean), tries, k + 1), rows.mean.device
        kind = torch.uint8 if k < 2**8 else torch.int16 if k < 2**15 else torch.int32
        self.labels = torch.full((shape[0], rows.n, tries), k, dtype=kind, device=device)
        self.counts = torch.zeros(shape, dtype=torch.float64, device=device)
        self.sums = torch.zeros((*shape, rows.width), dtype=torch.float64, device=device)
        self.bounds = DistanceBounds(rows) if isinstance(rows, RowStream) and k > 1 else None
        self.settled = False  # whether few rows change cluster, so that bounds are worth their cost

    def keep(self, tries: Tensor) -> None:
        self.labels, self.counts, self.sums = self.labels[..., tries], self.counts[:, tries], self.sums[:, tries]

    def assign(self, centroids: Tensor) -> Tensor:
        """Assign every row to the nearest of centroids (B, T, k, d); the number that changed cluster, (B, T)."""
        if self.bounds is not None:
            return self._assign_within(self.bounds, centroids[0, 0])[None, None]
        changed = torch.zeros(self.counts.shape[:2], dtype=torch.int64, device=centroids.device)
        for where, piece in self.rows.centred():
            labels = relative_distances(piece, centroids).min(2).indices.mT
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

    def _assign_within(self, bounds: DistanceBounds, centroids: Tensor) -> Tensor:
        """`assign` for one set and one try, comparing only rows whose nearest centroid may have changed."""
        rows, labels, offsets = bounds.rows, self.labels[0, :, 0], centroids.square().sum(1, keepdim=True)
        bounds.move(centroids, labels)
        whole, afresh = not (bounds.margins > 0).any(), False
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
            scores = relative_distances(piece[None], centroids[None, None])[0, 0]
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
        """Add rows (m, d) to the clusters of their labels (m,), or subtract them (sign -1)."""
        self.sums[0, 0] += sign * cluster_sums(rows, labels, self.k + 1).double()
        self.counts[0, 0] += sign * labels.bincount(minlength=self.k + 1)

    def inertia(self, centroids: Tensor) -> tuple[Tensor, Tensor]:
        """Of one set: the sum of squared distances () to the nearest of centroids (k, d), and the clusters' sizes (k,).

        From the clusters' sums: sum |x|^2 - 2 sum_k c_k . S_k + sum_k n_k |c_k|^2.
        """
        assert self.bounds is not None
        self.assign(centroids[None, None])
        sums, counts, exact = self.sums[0, 0, : self.k], self.counts[0, 0, : self.k], centroids.double()
        squares = self.bounds.rows.lengths.sum(dtype=torch.float64)
        return squares - 2 * (exact * sums).sum() + counts @ exact.square().sum(1), counts.long()

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


def lloyd(clusters: Clusters, start: Tensor, max_iter: int, tol: float) -> tuple[Tensor, Tensor]:
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


def inertia_and_counts(rows: RowSource, centroids: Tensor, clusters: Clusters | None = None) -> tuple[Tensor, Tensor]:
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
        labels = relative_distances(piece, centroids[:, None])[:, 0].min(1).indices
        own = centroids.flatten(0, 1).index_select(0, (labels + first).flatten()).view_as(piece)
        distances = torch.linalg.vector_norm(own.sub_(piece), dim=-1).square_()
        if rows.padding is not None:
            distances.masked_fill_(rows.padding[:, where], 0)
            labels.masked_fill_(rows.padding[:, where], centroids.shape[1])
        inertia += distances.sum(1, dtype=torch.float64)
        counts.scatter_add_(1, labels, torch.ones_like(labels))
    return inertia, counts[:, :-1]
