"""Colours that are told apart, whoever looks: of prototypes and of classes."""

from functools import cache

import torch
from matplotlib.colors import to_hex, to_rgb
from torch import Tensor

from xcnn.colour import cielab
from xcnn.figures.style import PALETTE

# Linear RGB as protanopes and deuteranopes see it (Machado, Oliveira & Fernandes 2009, severity 1).
_SEEN_AS = (
    ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
)


@cache
def distinct_colours(n: int) -> tuple[str, ...]:
    """n colours, the first of them Okabe & Ito's; each list begins with those of any shorter one.

    Each further colour is the one of a grid in sRGB that is farthest (CIELAB) from all before it, for whichever of
    normal sight, protanopia and deuteranopia tells it from them least. White, grey and very dark ones are left out.
    """
    levels = torch.linspace(0, 1, 12, dtype=torch.float64)
    grid = torch.cartesian_prod(levels, levels, levels)
    lightness, a, b = cielab(grid).unbind(-1)
    grid = grid[(lightness > 35) & (lightness < 86) & (a.hypot(b) > 30)]
    chosen = torch.tensor([to_rgb(colour) for colour in PALETTE[:n]], dtype=torch.float64)
    seen = _as_seen(grid)
    distance = torch.cdist(_as_seen(chosen), seen).amin((0, 1))
    while len(chosen) < n:
        farthest = distance.argmax()
        chosen = torch.cat([chosen, grid[farthest, None]])
        distance = distance.minimum(torch.cdist(seen[:, farthest, None], seen).amin((0, 1)))
    return tuple(to_hex(colour) for colour in chosen.tolist())


def _as_seen(rgb: Tensor) -> Tensor:
    """sRGB (N, 3) to CIELAB (3, N, 3), as normal sight, protanopia and deuteranopia see it."""
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = (linear @ linear.new_tensor(_SEEN_AS).mT).clamp(0, 1)
    return cielab(torch.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055))
