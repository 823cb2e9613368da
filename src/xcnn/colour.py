"""Naming colours: the eleven basic colour terms of English (Berlin & Kay 1969), as people use them.

A colour takes the term of the nearest prototype in CIELAB. The prototypes are the colours of the xkcd survey (Munroe
2010; 222,500 sessions; matplotlib ships them) whose name ends in a basic term, such as `navy green` or `dark brown`; so
no boundary between two terms is set by hand.
"""

from functools import cache

import torch
from matplotlib.colors import XKCD_COLORS, to_rgb
from torch import Tensor

BASIC_TERMS = ("black", "white", "grey", "red", "green", "yellow", "blue", "brown", "orange", "pink", "purple")
_NEAR_WHITE = ("pale grey", "very light pink")  # survey names whose colours most people would call white
CHUNK = 4096  # colours whose distances to all prototypes are held at a time
_WHITE_D65 = (0.95047, 1.0, 1.08883)
_RGB_TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))


def cielab(rgb: Tensor) -> Tensor:
    """sRGB (..., 3) in [0, 1] to CIELAB (..., 3): L* in [0, 100], a* and b*, for D65 and the 2 degree observer.

    The transfer function is IEC 61966-2-1's; L*, a*, b* are those of CIE 15.
    """
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = linear @ linear.new_tensor(_RGB_TO_XYZ).T / linear.new_tensor(_WHITE_D65)
    f = torch.where(xyz > (6 / 29) ** 3, xyz ** (1 / 3), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = f.unbind(-1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


@cache
def prototypes() -> tuple[Tensor, Tensor]:
    """CIELAB prototypes (P, 3), float64, and the index into `BASIC_TERMS` of each (P,)."""
    names = {name.removeprefix("xkcd:"): rgb for name, rgb in XKCD_COLORS.items()}
    named = [
        (to_rgb(rgb), BASIC_TERMS.index(term))
        for name, rgb in names.items()
        if (term := name.split()[-1]) in BASIC_TERMS and name not in _NEAR_WHITE
    ]
    rgb, terms = zip(*named, strict=True)
    return cielab(torch.tensor(rgb, dtype=torch.float64)), torch.tensor(terms)


def basic_terms(rgb: Tensor) -> Tensor:
    """sRGB (N, 3) in [0, 1] to the index into `BASIC_TERMS` of each colour (N,)."""
    lab, terms = prototypes()
    nearest = [torch.cdist(part, lab).argmin(1) for part in cielab(rgb.double()).split(CHUNK)]
    return terms[torch.cat(nearest)]
