"""Shattered gradients (Balduzzi et al. 2017): how fast maps change along a line of inputs.

Gradients of a plain network at random initialisation look like white noise along a line, the more so the deeper it is;
those of a residual network less.
"""

import torch
from torch import Tensor

from xcnn.errors import UserError

__all__ = ["autocorrelation", "line"]


def line(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Evenly spaced inputs from one to the other, both with them: (C, H, W), (C, H, W) -> (steps, C, H, W).

    Raises:
        UserError: fewer than 2 steps, or inputs of different shapes.
    """
    if steps < 2 or start.shape != end.shape:
        raise UserError(
            f"{steps} steps from {tuple(start.shape)} to {tuple(end.shape)}; give 2 or more, and one shape."
        )
    share = torch.linspace(0, 1, steps, dtype=start.dtype, device=start.device)[:, None, None, None]
    return (1 - share) * start + share * end


def autocorrelation(maps: Tensor, lags: int) -> Tensor:
    """Autocorrelation of a series of maps (T, ...) at the lags 0 to `lags`: (lags + 1,), 1 at lag 0.

    R(k) = sum_t <g_t - g, g_(t+k) - g> / sum_t |g_t - g|^2 with the mean map g, over the T - k pairs. White noise has
    about 0 at every lag but 0; NaN where the maps are all the same.

    Raises:
        UserError: lags outside 0..T - 1.
    """
    if not 0 <= lags < len(maps):
        raise UserError(f"lags is {lags} for {len(maps)} maps; choose 0..{len(maps) - 1}.")
    series = maps.flatten(1).double()
    series = series - series.mean(0)
    total = series.square().sum()
    found = torch.stack([(series[: len(series) - k] * series[k:]).sum() for k in range(lags + 1)]) / total
    rounding = torch.finfo(maps.dtype).eps * maps.flatten(1).double().norm()
    return found.where(total.sqrt() > 8 * rounding, torch.nan)
