"""Rows to cluster, piece by piece: a stream of chunks, or sets that are held in memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from xcnn.errors import UserError
from xcnn.prototypes.k_means.distances import squared_lengths

Rows = Tensor | Callable[[], Iterable[Tensor]]

PIECE_BYTES = 2**26  # size of a piece: rows that are compared at a time
LEAST_ROWS = 256  # of a piece, below which the calls cost more than the arithmetic
FAR = 4.0  # |mean|^2 over the rows' total variance from which the mean is subtracted, for the sake of the digits


class RowStream:
    """Rows in memory or in chunks, as one set (B = 1): checked and measured when made, then given piece by piece.

    Attributes:
        mean: offset (1, 1, d) subtracted from the rows: their mean where they are far from the origin, else 0.
        lengths: squared lengths (n,) of the rows after that.
        variance: (1,) float64, the mean variance of the features.
    """

    padding = None

    def __init__(self, rows: Rows):
        self._chunks = (lambda: (rows,)) if isinstance(rows, Tensor) else rows
        self.n, self.width, self.dtype, total = 0, -1, torch.float32, torch.zeros(())
        lengths = []
        for piece in self._pieces():
            total = total + piece.sum(0, dtype=self.dtype).double()
            lengths.append(squared_lengths(piece.to(self.dtype)))
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
            self.lengths = torch.cat([squared_lengths(pieces[0]) for _, pieces in self.centred()])
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
                yield from chunk.split(rows_per_piece(chunk))

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
        """Rows (..., d) less the mean, in the dtype of the computation."""
        return rows - self.mean[0] if self.mean.any() else rows.to(self.dtype)


class HeldRows:
    """Sets of rows in memory, centred and padded with zeros to (B, n, d).

    Attributes:
        mean: mean (B, 1, d) of each set, subtracted from its rows.
        padding: (B, n), where a set has no row; None for one set.
        variance: mean variance of the features of each set, (B,) float64.
    """

    def __init__(self, sets: Sequence[Tensor]):
        self.mean = torch.stack([rows.mean(0, keepdim=True) for rows in sets])
        self.data = pad_sequence([rows - mean for rows, mean in zip(sets, self.mean, strict=True)], batch_first=True)
        self.n, self.width = self.data.shape[1:]
        self.sizes = torch.tensor([len(rows) for rows in sets], device=self.data.device)
        places = torch.arange(self.n, device=self.data.device)
        self.padding = places >= self.sizes[:, None] if len(sets) > 1 else None
        squares = squared_lengths(self.data).sum(1, dtype=torch.float64)
        self.variance = squares / (self.sizes * self.width)  # (B,), mean over the features

    def centred(self) -> Iterator[tuple[slice, Tensor]]:
        """Pieces (B, m, d) less the mean, and their places."""
        step = rows_per_piece(self.data[0], len(self.data))
        for place in range(0, self.n, step):
            where = slice(place, min(place + step, self.n))
            yield where, self.data[:, where]


RowSource = RowStream | HeldRows


def rows_per_piece(rows: Tensor, sets: int = 1) -> int:
    """Number of rows of each set that make a piece."""
    row_bytes = sets * rows.shape[-1] * max(rows.element_size(), 4)
    return max(LEAST_ROWS, PIECE_BYTES // max(row_bytes, 1))
