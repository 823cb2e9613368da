"""Prototypes as explanations (Post-hoc Self-explanation of CNNs, figure 1; ProtoPNet's parts).

The paper gives no colours but red and blue for importance. Ours: prototypes take the colours of `distinct_colours`;
segments are laid over the grey image, so that every hue is a prototype, and one hue is the same prototype in the map
and around its patch. A patch is the part of the training image about the segment, the rest dimmed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from xcnn.errors import UserError
from xcnn.figures.colours import distinct_colours
from xcnn.figures.panels import (
    CAPTION,
    LINE_HEIGHT,
    SMALL,
    WIDTH,
    bare,
    caption,
    cell_size,
    folded,
    location_aspect,
    needed,
    new_figure,
    outline,
    picture_over_map,
    picture_with_boxes,
)
from xcnn.figures.renderings import Array, Floats, as_tensor, upscale
from xcnn.figures.style import FAINT, INK, styled

Image = NDArray[np.uint8] | Array

DIVERGING = "RdBu_r"
OPACITY = 0.65  # of the segments over the image
DIMMED = 0.6  # brightness of what is outside of a patch's segment
NEAR = 1.8  # side of what is shown of a training image over the longer side of its segment
LEAST = 0.4  # of the training image's shorter side: no less is shown of it
PATCHES = 4  # in a row


@dataclass(frozen=True)
class PrototypePatch:
    """The training patch nearest to a prototype.

    Attributes:
        name: class of the prototype.
        picture: (3, H, W) training image, uint8 or in [0, 1].
        region: (h, w) bool, the patch in the image, at the resolution of the explanation.
    """

    name: str
    picture: Image
    region: NDArray[np.bool_] | Tensor


@dataclass(frozen=True)
class Interpretation:
    """What one method makes of an image.

    Attributes:
        name: name of the method, such as `B4`.
        image: (3, H, W) uint8 or in [0, 1].
        explanation: (h, w) integers, the prototype at each location.
        importance: (h, w) attribution of each location.
        prototypes: patches by index as in `explanation`; those that are not in it are not looked at.
    """

    name: str
    image: Image
    explanation: NDArray[np.integer] | Tensor
    importance: Array
    prototypes: Mapping[int, PrototypePatch]


@dataclass(frozen=True)
class PartPrototype:
    """A prototype of ProtoPNet where a push found it.

    Attributes:
        picture: (3, H, W) training image, uint8 or in [0, 1].
        box: x0, y0, x1, y1 of the receptive patch in pixels of the image, x1 and y1 exclusive edges.
        note: text below the patch.
    """

    picture: Image
    box: Sequence[float]
    note: str = ""


@styled
def interpretation_sheet(panels: Sequence[Interpretation], title: str = "", shown: int = 2 * PATCHES) -> Figure:
    """Figure 1: per method the image, its segments, their importance, and the training patch nearest to each prototype.

    The colours of a panel go by the shares of its segments, the largest first (then the lowest index). Importance is
    red above the map's own mean, which is written below it, and blue below that mean, on one scale for all panels: a
    large mean would else leave every location the same dark red.

    Args:
        panels: one per method, from left to right.
        title: heading.
        shown: the most patches of a panel; the others' number and share are given.

    Raises:
        UserError: no panel, or no patch to be shown; maps that are not as `Interpretation` says; a segment to show
            without its prototype, or that one's region empty.
    """
    needed(panels, "panels")
    if shown < 1:
        raise UserError(f"shown is {shown}; pass how many patches a panel may have, at least 1.")
    large_cell = min((WIDTH - 0.6) / len(panels) - 0.2, 4.5) / 3  # inches
    patch_cell = 3 * large_cell / PATCHES
    maps = [_maps(panel) for panel in panels]
    orders = [_by_share(explanation) for explanation, _ in maps]
    means = [float(importance.mean(dtype=np.float64)) for _, importance in maps]
    deviations = [importance - mean for (_, importance), mean in zip(maps, means, strict=True)]
    spreads = [float(np.abs(deviation).max()) for deviation in deviations]
    # A constant map departs from its mean by rounding alone.
    uniform = [spread <= 1e-5 * abs(mean) for spread, mean in zip(spreads, means, strict=True)]
    limit = max([spread for spread, flat in zip(spreads, uniform, strict=True) if not flat], default=1.0)
    captions = [
        [
            _patch_caption(
                panel, index, share, float(importance[explanation == index].mean()), 3 * large_cell / PATCHES
            )
            for index, share in order[:shown]
        ]
        for panel, order, (explanation, importance) in zip(panels, orders, maps, strict=True)
    ]
    lines = max(text.count("\n") for texts in captions for text in texts)
    rows = -(-max(map(len, captions)) // PATCHES)
    heights = [CAPTION, large_cell + 2 * CAPTION, *[patch_cell + CAPTION + LINE_HEIGHT * lines] * rows]
    span = 3 * PATCHES  # columns of a panel: three large pictures or a row of patches
    figure = new_figure(len(panels) * (3 * large_cell + 0.2) + 0.6, sum(heights), title, compress=False)
    widths = ([*[1.0] * span, 0.5] * len(panels))[:-1]
    grid = figure.add_gridspec(len(heights), len(widths), height_ratios=heights, width_ratios=widths)
    for number, (panel, (explanation, importance), order, texts) in enumerate(
        zip(panels, maps, orders, captions, strict=True)
    ):
        left = number * (span + 1)
        heading = figure.add_subplot(grid[0, left : left + span])
        heading.set_axis_off()
        heading.text(0.5, 0.5, panel.name, ha="center", va="center", fontweight="bold", transform=heading.transAxes)
        large = [figure.add_subplot(grid[1, left + PATCHES * i : left + PATCHES * (i + 1)]) for i in range(3)]
        colours = dict(zip((index for index, _ in order), distinct_colours(len(order)), strict=True))
        image = _rgb(panel.image)
        picture_over_map(large[0], image, explanation.shape)
        picture_over_map(
            large[1], np.broadcast_to(np.tensordot([0.299, 0.587, 0.114], image, 1), image.shape), explanation.shape
        )
        _segments(large[1], explanation, colours)
        drawn = large[2].imshow(
            deviations[number],
            cmap=DIVERGING,
            vmin=-limit,
            vmax=limit,
            aspect=location_aspect(image, importance.shape),
        )
        about = "uniform" if uniform[number] else "mean"
        caption(large[2], f"{about} {means[number]:+.2g}".replace("-", "−"))
        for cell, heading_text in zip(large, ("input", "explanation map", "importance"), strict=True):
            bare(cell)
            cell.set_title(heading_text)
        large[2].spines[:].set_visible(True)  # the mean importance is as white as the page
        rest = sum(share for _, share in order[shown:])
        if rest:
            caption(large[1], f"and {len(order) - shown} more, on {rest:.1%} of it")
        for place, ((index, _), text) in enumerate(zip(order, texts, strict=False)):
            row, column = divmod(place, PATCHES)
            cell = figure.add_subplot(grid[2 + row, left + 3 * column : left + 3 * (column + 1)])
            _patch(cell, panel.prototypes[index], colours[index])
            caption(cell, text, INK)
    figure.supxlabel("below a patch: class, share of the map, mean importance", fontsize=SMALL, color=FAINT)
    bar = figure.colorbar(drawn, ax=large[2], pad=0.03, aspect=15)
    bar.ax.tick_params(length=0)
    bar.set_label("less the mean", fontsize=SMALL)
    bar.outline.set_visible(False)
    return figure


@styled
def part_prototypes(rows: Mapping[str, Sequence[PartPrototype]], title: str = "") -> Figure:
    """A row per class: each of its prototypes as the training image with the receptive patch boxed, and that patch.

    A patch that is the whole image, as of a last map with one location, has no box and is not drawn twice.

    Raises:
        UserError: no class, one without prototypes, or a box that is not on its image.
    """
    needed(rows, "rows")
    for name, parts in rows.items():
        needed(parts, f"rows[{name!r}]")
    whole = {name: [_is_whole(name, part) for part in parts] for name, parts in rows.items()}
    step = 1 if all(map(all, whole.values())) else 2  # columns of a prototype
    columns = step * max(map(len, rows.values()))
    cell_width = cell_size(columns, 0.8)
    lines = 1 + max(folded([part.note], cell_width).count("\n") for parts in rows.values() for part in parts)
    height = len(rows) * (cell_width + CAPTION + LINE_HEIGHT * lines) + 2 * CAPTION
    figure = new_figure(columns * cell_width + 0.8, height, title)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for (name, parts), line in zip(rows.items(), axes, strict=True):
        for place, part in enumerate(parts):
            image = line[step * place]
            picture = _rgb(part.picture)
            size = np.asarray(part.picture).shape[1:]
            if whole[name][place]:
                picture_with_boxes(image, picture, size, np.empty((0, 4)))
                caption(image, folded([f"whole image; {part.note}" if part.note else "whole image"], cell_width))
                continue
            patch = line[step * place + 1]
            x0, y0, x1, y1 = map(float, part.box)
            picture_with_boxes(image, picture, size, np.array([part.box], dtype=float))
            picture_with_boxes(patch, picture, size, np.empty((0, 4)))
            patch.set(xlim=(x0 - 0.5, x1 - 0.5), ylim=(y1 - 0.5, y0 - 0.5))
            caption(patch, folded([part.note], cell_width))
        for cell in line:
            cell.set_anchor("N")
            if not cell.images:
                bare(cell)
        line[0].set_ylabel(folded([name], 0.9), rotation=0, ha="right", va="center")
    for place, cell in enumerate(axes[0]):
        cell.set_title("prototype" if place % step else "training\nimage")
    return figure


def _is_whole(name: str, part: PartPrototype) -> bool:
    """Whether a part's box is its whole image."""
    height, width = np.asarray(part.picture).shape[1:]
    x0, y0, x1, y1 = map(float, part.box)
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise UserError(f"{name}: the box {(x0, y0, x1, y1)} is not on an image of {width} x {height} pixels.")
    return (x0, y0, x1, y1) == (0, 0, width, height)


def _maps(panel: Interpretation) -> tuple[NDArray[np.integer], NDArray[np.floating]]:
    explanation = torch.as_tensor(panel.explanation).detach().cpu().numpy()
    importance = as_tensor(panel.importance).numpy()
    if (
        explanation.ndim != 2
        or not explanation.size
        or explanation.shape != importance.shape
        or not np.issubdtype(explanation.dtype, np.integer)
        or not np.isfinite(importance).all()
    ):
        raise UserError(
            f"{panel.name}: the explanation map is {explanation.shape} {explanation.dtype} and its importance "
            f"{importance.shape}; pass prototype indices (h, w), and as many finite numbers."
        )
    return explanation, importance


def _by_share(explanation: NDArray[np.integer]) -> list[tuple[int, float]]:
    """Prototypes and their shares of the map, the largest first, then the lowest index."""
    indices, counts = np.unique(explanation, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [(int(indices[place]), float(counts[place] / explanation.size)) for place in order]


def _patch_caption(panel: Interpretation, index: int, share: float, importance: float, width: float) -> str:
    if index not in panel.prototypes:
        raise UserError(f"{panel.name} has prototype {index} in its map but no patch of it; pass one.")
    lines = folded([panel.prototypes[index].name], width)
    return f"{lines}\n{share:.1%}, " + f"{importance:+.3g}".replace("-", "−")


def _rgb(image: Image) -> Floats:
    """(3, H, W) in [0, 1], large enough to draw."""
    values = torch.as_tensor(image)
    return upscale(as_tensor(values) / 255 if values.dtype == torch.uint8 else values)


def _segments(axes: Axes, explanation: NDArray[np.integer], colours: Mapping[int, str]) -> None:
    place = {index: number for number, index in enumerate(colours)}
    numbers = np.vectorize(place.__getitem__)(explanation)
    axes.imshow(
        numbers,
        cmap=ListedColormap(list(colours.values())),
        vmin=-0.5,
        vmax=len(colours) - 0.5,
        alpha=OPACITY,
        interpolation="nearest",
        aspect=axes.get_aspect(),
    )


def _patch(axes: Axes, patch: PrototypePatch, colour: str) -> None:
    """The training image about the segment, framed and the segment outlined in its colour."""
    region = torch.as_tensor(patch.region).cpu().numpy().astype(bool)
    if region.ndim != 2 or not region.any():
        raise UserError(f"{patch.name}: the region is {region.shape}; pass bool (h, w) with a location in it.")
    picture = _rgb(patch.picture)
    size = picture.shape[1:]
    inside = functional.interpolate(torch.tensor(region)[None, None].float(), size=size, mode="nearest-exact")[0, 0]
    picture_over_map(axes, picture * torch.where(inside > 0, 1, DIMMED).float().numpy(), region.shape)
    outline(axes, region, colour)
    # A square of the picture about the segment, moved onto the picture where it hangs over.
    locations = np.argwhere(region)
    low, high = locations.min(0), locations.max(0) + 1
    pixels = np.array(size) / region.shape  # of a location
    side = min(max(NEAR * ((high - low) * pixels).max(), LEAST * min(size)), min(size)) / pixels
    start = np.clip((low + high - side) / 2, 0, np.maximum(region.shape - side, 0))
    axes.set(xlim=(start[1] - 0.5, start[1] + side[1] - 0.5), ylim=(start[0] + side[0] - 0.5, start[0] - 0.5))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set(visible=True, color=colour, linewidth=2.5)
