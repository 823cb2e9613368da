"""Cost of ROAD's imputation by multigrid against SciPy's sparse direct solver, in one run on one machine.

    python benchmarks/imputation.py

Both impute the same images of 224 x 224 pixels, after the share of pixels that a smooth map ranks highest was removed.
Each uses one thread; the table gives the time per image and the ratio of the times.
"""

import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from scipy.sparse import csc_matrix
from scipy.sparse.linalg import splu
from torch import Tensor
from torch.nn import functional

from xcnn.metrics import impute

FRACTIONS = (0.2, 0.4, 0.6, 0.8)
SIDE = 224
WEIGHTS = {(y, x): 1 / 12 if y and x else 1 / 6 for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)}


def direct(images: Tensor, removed: Tensor) -> Tensor:
    """The solution of each image's system by LU decomposition in float64, once for all channels."""
    found = images.double().numpy().copy()
    for values, gone in zip(found, removed.numpy(), strict=True):
        matrix, right = system(values, gone)
        # Minimum degree on the symmetric pattern, without pivoting: the matrix is symmetric and diagonally dominant.
        factors = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0, options={"SymmetricMode": True})
        values[:, gone] = factors.solve(right).T
    return torch.from_numpy(found)


def system(values: np.ndarray, gone: np.ndarray) -> tuple[csc_matrix, np.ndarray]:
    """The matrix (n, n) and right sides (n, C) of the n removed pixels of one image (C, H, W)."""
    n = int(gone.sum())
    number = np.pad(np.where(gone, gone.cumsum().reshape(gone.shape) - 1, -1), 1, constant_values=-1)
    inside = np.pad(np.ones_like(gone), 1)
    known = np.pad(values * ~gone, ((0, 0), (1, 1), (1, 1)))
    y, x = (places + 1 for places in gone.nonzero())
    diagonal, right = np.zeros(n), np.zeros((n, len(values)))
    rows, columns, entries = [np.arange(n)], [np.arange(n)], [diagonal]
    for (dy, dx), weight in WEIGHTS.items():
        beside = y + dy, x + dx
        diagonal += weight * inside[beside]
        right += weight * known[:, *beside].T
        coupled = (number[beside] >= 0).nonzero()[0]
        rows.append(coupled)
        columns.append(number[beside][coupled])
        entries.append(np.full(len(coupled), -weight))
    return csc_matrix((np.concatenate(entries), (np.concatenate(rows), np.concatenate(columns))), shape=(n, n)), right


def seconds(solve: Callable[[Tensor, Tensor], Tensor], images: Tensor, removed: Tensor) -> tuple[float, Tensor]:
    """Processor time of the calling thread, which other programs do not lengthen, and the result."""
    start = time.thread_time()
    found = solve(images, removed)
    return time.thread_time() - start, found


def main(n: int = 8) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images = 9 * functional.avg_pool2d(torch.randn(n, 3, SIDE, SIDE), 9, 1, 4)
    maps = functional.interpolate(torch.rand(n, 1, 7, 7), size=(SIDE, SIDE), mode="bilinear")[:, 0]
    impute(images[:1], maps[:1] > 0.9)  # the first call is slower
    for fraction in FRACTIONS:
        removed = maps > maps.flatten(1).quantile(1 - fraction, dim=1)[:, None, None]
        (ours, multigrid), (theirs, exact) = (seconds(solve, images, removed) for solve in (impute, direct))
        print(
            f"{fraction:.0%} removed: multigrid {1000 * ours / n:.0f} ms per image, direct {1000 * theirs / n:.0f} ms, "
            f"ratio {theirs / ours:.2f}; largest difference {(multigrid - exact).abs().max():.1e}"
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
