"""What the filters of each layer see: images that maximise them, and the patches of real images on which they fire."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from xcnn.errors import UserError
from xcnn.figures.panels import WIDTH, bare, caption, needed, new_figure
from xcnn.figures.style import styled

MOST_SIDE = 0.85  # inches of a picture


@dataclass(frozen=True)
class SeenByFilter:
    """A filter, and pictures (C, H, W) in [0, 1], of one channel or three, each with its activation.

    Attributes:
        layer: name of the layer, which heads its first filter.
        index: of the filter.
        maximised: the image by gradient ascent.
        reached: its activation.
        patches: the receptive fields of the strongest places in real images.
        activations: of the patches.
    """

    layer: str
    index: int
    maximised: ArrayLike
    reached: float
    patches: Sequence[ArrayLike]
    activations: Sequence[float]


@styled
def layer_sheet(filters: Sequence[SeenByFilter], title: str = "") -> Figure:
    """A line for each filter: the image that maximises it, then its strongest patches, activations below.

    Raises:
        UserError: no filter, or filters with different numbers of patches.
    """
    needed(filters, "filters")
    count = len(filters[0].patches)
    if any(len(each.patches) != count or len(each.activations) != count for each in filters):
        raise UserError("the filters have different numbers of patches or activations; pass as many for each.")
    side = min(MOST_SIDE, (WIDTH - 0.9) / (1 + count))
    figure = new_figure(0.9 + side * (1 + count), (side + 0.16) * len(filters) + 0.25, title, compress=False)
    axes = figure.subplots(len(filters), 1 + count, squeeze=False)
    for line, each in zip(axes, filters, strict=True):
        pictures = [each.maximised, *each.patches]
        for cell, picture, value in zip(line, pictures, [each.reached, *each.activations], strict=True):
            shown = np.asarray(picture, dtype=float)
            cell.imshow(np.moveaxis(np.repeat(shown, 3 // len(shown), 0), 0, -1), interpolation="nearest")
            bare(cell)
            caption(cell, f"{value:.2f}")
        line[0].set_ylabel(f"{each.layer}\nfilter {each.index}", rotation=0, ha="right", va="center", labelpad=6)
    axes[0, 0].set_title("maximised")
    axes[0, 1].set_title("strongest in real images", loc="left")
    return figure
