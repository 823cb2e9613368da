"""Relevance of single pixels: by itself, with its sign, or in the survey's own way, jet over the image (white_box).

A map of pixels is drawn without the image under it, which would hide it. Few pixels hold most of a gradient's range, so
the colours end at a percentile of the absolute values; what lies beyond has the last colour.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import matplotlib
import numpy as np
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from xcnn.errors import UserError
from xcnn.figures.heat_maps import HEAT, HeatMapRow, Panel, overlay, panel_grid
from xcnn.figures.panels import (
    CAPTION,
    SMALL,
    bare,
    caption,
    cell_size,
    colour_bar,
    needed,
    new_figure,
    picture_with_boxes,
)
from xcnn.figures.renderings import Array, Floats, as_tensor, heat, upscale
from xcnn.figures.style import INK, styled

Scale = Literal["sequential", "signed", "heat", "jet", "jet_overlay", "picture"]
SIGNED = "RdBu_r"
PERCENTILE = 99.5
JET_OPACITY = 0.5  # the survey does not say; its figure 4 shows as much of the image as of the map
LABELS: dict[Scale, tuple[str, list[str]]] = {
    "sequential": (HEAT, ["0", "max"]),
    "signed": (SIGNED, ["against", "0", "for"]),
    "heat": (HEAT, ["min", "max"]),
    "jet": ("jet", ["min", "max"]),
    "jet_overlay": ("jet", ["min", "max"]),
    "picture": ("", []),  # itself an image (3, H, W) in [0, 1]
}


def coloured(activation: Array, scale: Scale, size: Sequence[int]) -> Floats:
    """A map (h, w) in colours, at the size (H, W): (3, H, W) in [0, 1].

    "sequential": absolute values from 0 to their percentile; "signed": 0 in the middle; "heat" and "jet": from the
    minimum to the maximum.

    Raises:
        UserError: it is not one finite map.
    """
    name = LABELS[scale][0]
    if scale in ("sequential", "signed"):
        values = as_tensor(activation)
        if values.ndim != 2 or not values.isfinite().all():
            raise UserError(f"the map is {tuple(values.shape)}; pass one finite map (h, w).")
        top = _top(values)
        shares = (values / top).clamp(-1, 1) / 2 + 0.5 if scale == "signed" else (values.abs() / top).clamp(max=1)
        values = torch.nn.functional.interpolate(shares[None, None], size=tuple(size), mode="nearest")[0, 0]
    else:
        values = torch.from_numpy(heat(activation, (size[0], size[1])))
    return np.moveaxis(matplotlib.colormaps[name](values.numpy())[..., :3].astype(np.float32), -1, 0)


def jet_overlay(image: Array, activation: Array) -> Floats:
    """Figure 4: an image (3, H, W) in [0, 1] under a map (h, w) in jet, its minimum blue and its maximum red."""
    large = upscale(image)
    return JET_OPACITY * coloured(activation, "jet", large.shape[1:]) + (1 - JET_OPACITY) * large


@styled
def relevance_grid(rows: Sequence[HeatMapRow], scales: Mapping[str, Scale], title: str = "") -> Figure:
    """Figures 4, 6, 8 and 9: per row an image and a map of each method, in the colours that suit it.

    Args:
        rows: images with maps by heading.
        scales: by heading, in the order of the columns.

    Raises:
        UserError: there is nothing to draw, or an unknown scale.
    """
    needed(scales, "scales")
    if unknown := set(scales.values()) - set(LABELS):
        raise UserError(f"unknown scale {', '.join(sorted(unknown))}; there are: {', '.join(LABELS)}.")
    figure, axes = panel_grid(rows, list(scales), title, {name: _panel(scale) for name, scale in scales.items()}, 0.3)
    for column, scale in enumerate(scales.values(), start=1):
        name, ends = LABELS[scale]
        if not ends:
            continue
        bar = colour_bar(figure, ScalarMappable(cmap=name), axes[:, column], "", "bottom")
        bar.set_ticks(np.linspace(0, 1, len(ends)).tolist(), labels=ends)
        texts = bar.ax.get_xticklabels()
        texts[0].set_horizontalalignment("left")  # within the bar's own width: the next one's is near
        texts[-1].set_horizontalalignment("right")
    return figure


@dataclass(frozen=True)
class PathRow:
    """An image's path from its baseline, and the gradient on the way.

    Attributes:
        images: (points, 3, H, W) in [0, 1], from the baseline to the image.
        gradients: (points, H, W), not negative; drawn on one scale.
        integrated: (H, W), signed: the integrated gradients.
        title: text below the image, such as its class.
        notes: text below each point's image, such as the confidence there.
    """

    images: Tensor
    gradients: Tensor
    integrated: Tensor
    title: str
    notes: Sequence[str]


@styled
def integration_path(rows: Sequence[PathRow], shares: Sequence[float], title: str = "") -> Figure:
    """Figure 7: the images from the baseline to the image, the gradient at each, and what integrating them gives.

    Args:
        rows: images.
        shares: alpha of each point, in [0, 1].
    """
    needed(rows, "rows")
    columns = len(shares) + 1
    side = cell_size(columns, 0.2)
    figure = new_figure(columns * side + 0.2, 2 * len(rows) * (side + CAPTION) + 0.3, title)
    axes: NDArray[np.object_] = figure.subplots(2 * len(rows), columns, squeeze=False)
    for row, upper, lower in zip(rows, axes[::2], axes[1::2], strict=True):
        size = row.images.shape[2:]
        top = _top(row.gradients)
        for place, (above, below) in enumerate(zip(upper[:-1], lower[:-1], strict=True)):
            picture_with_boxes(above, upscale(row.images[place]), size, torch.empty(0, 4))
            caption(above, row.notes[place])
            values = (row.gradients[place] / top).clamp(max=1).numpy()
            below.imshow(values, cmap=HEAT, vmin=0, vmax=1)
            bare(below)
        picture_with_boxes(
            lower[-1], coloured(row.integrated, "signed", upscale(row.images[-1]).shape[1:]), size, torch.empty(0, 4)
        )
        upper[-1].axis("off")
        upper[-1].text(0.5, 0.02, f"{row.title}\n\nintegrated\ngradients", transform=upper[-1].transAxes,
                       ha="center", va="bottom", fontsize=SMALL, color=INK)  # fmt: skip
        upper[0].set_ylabel("image", fontsize=SMALL)
        lower[0].set_ylabel("|gradient|", fontsize=SMALL)
    for cell, share in zip(axes[0], shares, strict=False):
        cell.set_title(f"α = {share:.2f}")
    return figure


def _top(values: Tensor) -> float:
    """The percentile of the absolute values at which colours end; never 0."""
    return max(float(np.percentile(values.abs().numpy(), PERCENTILE)), float(np.finfo(np.float32).tiny))


def _panel(scale: Scale) -> Panel:
    if scale == "heat":
        return overlay
    if scale == "jet_overlay":
        return jet_overlay
    if scale == "picture":
        return lambda image, picture: upscale(picture)
    return lambda image, activation: coloured(activation, scale, upscale(image).shape[1:])
