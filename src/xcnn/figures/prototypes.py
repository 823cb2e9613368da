"""Prototypes as explanations (Post-hoc Self-explanation of CNNs, figures 1 and 2; ProtoPNet's parts).

The paper gives no colours but red and blue for importance. Ours: prototypes and classes take the colours of
`distinct_colours`; segments are laid over the grey image, so that every hue is a prototype, and one hue is the same
prototype in the map and around its patch. A patch is the part of the training image about the segment, the rest dimmed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from typing import Literal

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import NullLocator
from matplotlib.transforms import Bbox
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional

from xcnn.errors import UserError
from xcnn.figures.panels import (
    CAPTION,
    CELL,
    LARGE_CELL,
    LINE_HEIGHT,
    bare,
    caption,
    folded,
    needed,
    new_figure,
    outline,
    picture_with_boxes,
)
from xcnn.figures.renderings import Array, Floats, as_tensor, upscale
from xcnn.figures.style import INK, MARKERS, PALETTE, styled
from xcnn.language.colour import cielab

Image = NDArray[np.uint8] | Array
Marker = Literal["x", "^", "s"]

DIVERGING = "RdBu_r"
OPACITY = 0.65  # of the segments over the image
DIMMED = 0.6  # brightness of what is outside of a patch's segment
NEAR = 1.8  # side of what is shown of a training image over the longer side of its segment
LEAST = 0.4  # of the training image's shorter side: no less is shown of it
PATCHES = 4  # in a row
LEGEND = 21  # more classes than these are named at their points
# Linear RGB as protanopes and deuteranopes see it (Machado, Oliveira & Fernandes 2009, severity 1).
_SEEN_AS = (
    ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
)


@dataclass(frozen=True)
class PrototypePatch:
    """The training patch nearest to a prototype.

    Attributes:
        name: the prototype's class.
        picture: (3, H, W) the training image, uint8 or in [0, 1].
        region: (h, w) bool, the patch in it, at the resolution of the explanation.
    """

    name: str
    picture: Image
    region: NDArray[np.bool_] | Tensor


@dataclass(frozen=True)
class Interpretation:
    """What one method makes of an image.

    Attributes:
        name: of the method, such as `B4`.
        image: (3, H, W) uint8 or in [0, 1].
        explanation: (h, w) integers, the prototype at each location.
        importance: (h, w) its attribution.
        prototypes: by index as in `explanation`; those that are not in it are not looked at.
    """

    name: str
    image: Image
    explanation: NDArray[np.integer] | Tensor
    importance: Array
    prototypes: Mapping[int, PrototypePatch]


@dataclass(frozen=True)
class Marks:
    """Prototypes in the plane: (p, 2) points, and the class of each (p,)."""

    points: ArrayLike
    labels: ArrayLike
    marker: Marker


@dataclass(frozen=True)
class EmbeddingPanel:
    """Embeddings in the plane, with prototypes.

    Attributes:
        name: heading.
        classes: that the labels index; a class has the same colour in every panel that names it.
        train: (n, 2).
        train_labels: (n,) integers.
        test: (m, 2), drawn fainter; may be empty.
        test_labels: (m,).
        marks: by what they are, such as `KMEx`.
    """

    name: str
    classes: Sequence[str]
    train: ArrayLike
    train_labels: ArrayLike
    test: ArrayLike
    test_labels: ArrayLike
    marks: Mapping[str, Marks] = field(default_factory=dict)


@dataclass(frozen=True)
class AccuracySeries:
    """A method's accuracies on a data set over a setting.

    Attributes:
        dataset: its axes.
        method: its colour.
        x: (n,) the setting; names make a categorical axis, in the order in which they come.
        train: (n,) means; NaN where there is none.
        test: likewise.
        train_std: (n,) half lengths of the error bars; NaN for none.
        test_std: likewise.
    """

    dataset: str
    method: str
    x: Sequence[float] | Sequence[str]
    train: ArrayLike
    test: ArrayLike
    train_std: ArrayLike
    test_std: ArrayLike


@dataclass(frozen=True)
class PartPrototype:
    """A prototype of ProtoPNet where a push found it.

    Attributes:
        picture: (3, H, W) the training image, uint8 or in [0, 1].
        box: x0, y0, x1, y1 in its pixels, x1 and y1 exclusive edges: the receptive patch.
        note: set below the patch.
    """

    picture: Image
    box: Sequence[float]
    note: str = ""


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


@styled
def interpretation_sheet(panels: Sequence[Interpretation], title: str = "", shown: int = 2 * PATCHES) -> Figure:
    """Figure 1: per method the image, its segments, their importance, and the training patch nearest to each prototype.

    The colours of a panel go by the shares of its segments, the largest first (then the lowest index); importance is
    red above zero and blue below, on one scale for all panels.

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
    maps = [_maps(panel) for panel in panels]
    orders = [_by_share(explanation) for explanation, _ in maps]
    limit = max(float(np.abs(importance).max()) for _, importance in maps) or 1.0
    captions = [
        [
            _patch_caption(panel, index, share, float(importance[explanation == index].mean()))
            for index, share in order[:shown]
        ]
        for panel, order, (explanation, importance) in zip(panels, orders, maps, strict=True)
    ]
    lines = max(text.count("\n") for texts in captions for text in texts)
    rows = -(-max(map(len, captions)) // PATCHES)
    heights = [CAPTION, LARGE_CELL + 2 * CAPTION, *[3 * LARGE_CELL / PATCHES + CAPTION + LINE_HEIGHT * lines] * rows]
    span = 3 * PATCHES  # columns of a panel: three large pictures or a row of patches
    figure = new_figure(len(panels) * (3 * LARGE_CELL + 0.2) + 0.6, sum(heights), title, compress=False)
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
        _show(large[0], image, explanation.shape)
        _show(large[1], np.broadcast_to(np.tensordot([0.299, 0.587, 0.114], image, 1), image.shape), explanation.shape)
        _segments(large[1], explanation, colours)
        drawn = large[2].imshow(
            importance, cmap=DIVERGING, vmin=-limit, vmax=limit, aspect=_aspect(image, importance.shape)
        )
        for cell, heading_text in zip(large, ("input", "explanation map", "importance"), strict=True):
            bare(cell)
            cell.set_title(heading_text)
        large[2].spines[:].set_visible(True)  # importance 0 is as white as the page
        rest = sum(share for _, share in order[shown:])
        if rest:
            caption(large[1], f"and {len(order) - shown} more, on {rest:.1%} of it")
        for place, ((index, _), text) in enumerate(zip(order, texts, strict=False)):
            row, column = divmod(place, PATCHES)
            cell = figure.add_subplot(grid[2 + row, left + 3 * column : left + 3 * (column + 1)])
            _patch(cell, panel.prototypes[index], colours[index])
            caption(cell, text, INK)
    bar = figure.colorbar(drawn, ax=large[2], pad=0.03, aspect=15)
    bar.ax.tick_params(length=0)
    bar.outline.set_visible(False)
    return figure


@styled
def embedding_plot(panels: Sequence[EmbeddingPanel], title: str = "") -> Figure:
    """Figure 2: embeddings coloured by class, the test ones fainter, and prototypes among them.

    Up to 21 classes stand in a legend; more are named at the medians of their training points.

    Raises:
        UserError: no panel; points that are not (n, 2), or labels that do not fit them or the classes.
    """
    needed(panels, "panels")
    classes = list(dict.fromkeys(name for panel in panels for name in panel.classes))
    named = len(classes) > LEGEND
    colours = dict(zip(classes, distinct_colours(len(classes)), strict=True))
    side = 6.0 if named else 4.2
    figure = new_figure(side * len(panels) + (0.2 if named else 1.8), side + 0.6, title, compress=False)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    kinds: dict[str, Marker] = {}
    for panel, cell in zip(panels, axes, strict=True):
        shades = np.array([to_rgb(colours[name]) for name in panel.classes])
        edges = np.where(shades.any(1, keepdims=True), (0.0, 0.0, 0.0), 1.0)  # black, and white about black
        train, labels = _labelled(panel, "train", panel.train, panel.train_labels)
        test, test_labels = _labelled(panel, "test", panel.test, panel.test_labels)
        size = float(np.clip(2e4 / (len(train) + len(test)), 2, 25))
        cell.scatter(*test.T, c=shades[test_labels], s=size, alpha=0.25, linewidths=0, label="test")
        cell.scatter(*train.T, c=shades[labels], s=size, alpha=0.8, linewidths=0, label="train")
        for name, marks in panel.marks.items():
            points, mark_labels = _labelled(panel, name, marks.points, marks.labels)
            kinds[name] = marks.marker
            if marks.marker == "x":  # it has no edge of its own
                cell.scatter(*points.T, c=edges[mark_labels], s=55, marker="x", linewidths=3.4)
                cell.scatter(*points.T, c=shades[mark_labels], s=45, marker="x", linewidths=1.6, label=name)
            else:
                cell.scatter(
                    *points.T,
                    c=shades[mark_labels],
                    s=45,
                    marker=marks.marker,
                    edgecolors=edges[mark_labels],
                    linewidths=1,
                    label=name,
                )
        cell.set_title(panel.name)
        cell.set_xticks([])
        cell.set_yticks([])
        cell.spines[:].set_visible(True)
    handles = [
        Line2D([], [], ls="none", marker="o", color=INK, markersize=4, label="train"),
        Line2D([], [], ls="none", marker="o", color=INK, markersize=4, alpha=0.3, label="test"),
        *(Line2D([], [], ls="none", marker=marker, color=INK, label=name) for name, marker in kinds.items()),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    if named:
        figure.draw_without_rendering()  # so that texts and axes have their places
        for panel, cell in zip(panels, axes, strict=True):
            _name_classes(cell, panel)
    else:
        dots = [Line2D([], [], ls="none", marker="o", color=colour, label=name) for name, colour in colours.items()]
        figure.legend(handles=dots, loc="outside right upper")
    return figure


@styled
def tradeoff_plot(
    series: Sequence[AccuracySeries], x_label: str, y_label: str = "accuracy", log: bool = False, title: str = ""
) -> Figure:
    """Accuracy over a setting, a line per method: test solid, train dashed; one axes per data set.

    Args:
        series: one per data set and method.
        x_label: what the setting is.
        y_label: what is measured, and its unit.
        log: the setting's axis; for numbers only.
        title: heading.

    Raises:
        UserError: none, two for the same data set and method, lengths that differ, or a log axis for
            names or numbers not above 0.
    """
    needed(series, "series")
    datasets = list(dict.fromkeys(one.dataset for one in series))
    methods = list(dict.fromkeys(one.method for one in series))
    if len({(one.dataset, one.method) for one in series}) < len(series):
        raise UserError("two series have the same data set and method; pass one for each.")
    values = list(dict.fromkeys(value for one in series for value in one.x))
    categorical = any(isinstance(value, str) for value in values)
    if log and (categorical or min(map(float, values)) <= 0):
        raise UserError(
            f"{', '.join(map(str, values))} cannot stand on a log axis; pass log=False, or numbers above 0."
        )
    figure = new_figure(3.3 * len(datasets) + 1.6, 3.2, title, compress=False)
    axes = figure.subplots(1, len(datasets), squeeze=False)[0]
    for one in series:
        cell = axes[datasets.index(one.dataset)]
        index = methods.index(one.method)
        place: list[float] = [values.index(x) if categorical else float(x) for x in one.x]
        for part, style in (("train", "--"), ("test", "-")):
            mean, std = (np.asarray(getattr(one, name), dtype=float) for name in (part, f"{part}_std"))
            if not mean.shape == std.shape == (len(place),):
                raise UserError(
                    f"{one.method} on {one.dataset} has {len(place)} settings, {part} means {mean.shape} and "
                    f"deviations {std.shape}; pass one of each."
                )
            cell.errorbar(
                place,
                mean,
                yerr=std,
                color=PALETTE[index % len(PALETTE)],
                marker=MARKERS[index % len(MARKERS)],
                markersize=4,
                markerfacecolor="white" if part == "train" else None,
                linestyle=style,
                elinewidth=1,
                capsize=2,
                label=f"{one.method}, {part}",
            )
    for dataset, cell in zip(datasets, axes, strict=True):
        if log:
            cell.set_xscale("log")
            cell.xaxis.set_minor_locator(NullLocator())
        if categorical:
            cell.set_xticks(range(len(values)), values)
        else:
            cell.set_xticks(values, [f"{value:g}" for value in values])
        cell.grid(color="#e8e8e8", linewidth=0.6)
        cell.set_axisbelow(True)
        cell.set_title(dataset)
        cell.set_xlabel(x_label)
    axes[0].set_ylabel(y_label)
    looks = [
        Line2D([], [], color=PALETTE[i % len(PALETTE)], marker=MARKERS[i % len(MARKERS)], markersize=4, label=method)
        for i, method in enumerate(methods)
    ]
    drawn = {"test": "-", "train": "--"}
    if not any(np.isfinite(np.asarray(one.train, dtype=float)).any() for one in series):
        del drawn["train"]
    parts = [Line2D([], [], color=INK, ls=style, label=part) for part, style in drawn.items()]
    figure.legend(handles=[*looks, *parts], loc="outside right upper")
    return figure


@styled
def part_prototypes(rows: Mapping[str, Sequence[PartPrototype]], title: str = "") -> Figure:
    """A row per class: each of its prototypes as the training image with the receptive patch boxed, and that patch.

    Raises:
        UserError: no class, one without prototypes, or a box that is not on its image.
    """
    needed(rows, "rows")
    for name, parts in rows.items():
        needed(parts, f"rows[{name!r}]")
    columns = 2 * max(map(len, rows.values()))
    lines = max(folded([part.note], CELL).count("\n") for parts in rows.values() for part in parts)
    figure = new_figure(
        columns * CELL + 1.2, len(rows) * (CELL + CAPTION + LINE_HEIGHT * lines) + CAPTION, title, compress=True
    )
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for (name, parts), line in zip(rows.items(), axes, strict=True):
        for part, image, patch in zip(parts, line[::2], line[1::2], strict=False):
            picture = _rgb(part.picture)
            height, width = np.asarray(part.picture).shape[1:]
            x0, y0, x1, y1 = map(float, part.box)
            if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
                raise UserError(f"{name}: the box {(x0, y0, x1, y1)} is not on an image of {width} x {height} pixels.")
            picture_with_boxes(image, picture, (height, width), np.array([part.box], dtype=float))
            picture_with_boxes(patch, picture, (height, width), np.empty((0, 4)))
            patch.set(xlim=(x0 - 0.5, x1 - 0.5), ylim=(y1 - 0.5, y0 - 0.5))
            caption(patch, folded([part.note], CELL))
        for cell in line:
            cell.set_anchor("N")
        for cell in line[2 * len(parts) :]:
            cell.set_axis_off()
        line[0].set_ylabel(folded([name], 0.9), rotation=0, ha="right", va="center")
    for image, patch in zip(axes[0, ::2], axes[0, 1::2], strict=True):
        image.set_title("training image")
        patch.set_title("prototype")
    return figure


def _as_seen(rgb: Tensor) -> Tensor:
    """sRGB (N, 3) to CIELAB (3, N, 3), as normal sight, protanopia and deuteranopia see it."""
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = (linear @ linear.new_tensor(_SEEN_AS).mT).clamp(0, 1)
    return cielab(torch.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055))


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


def _patch_caption(panel: Interpretation, index: int, share: float, importance: float) -> str:
    if index not in panel.prototypes:
        raise UserError(f"{panel.name} has prototype {index} in its map but no patch of it; pass one.")
    lines = folded([panel.prototypes[index].name], 3 * LARGE_CELL / PATCHES)
    return f"{lines}\n{share:.1%} of the map\nimportance " + f"{importance:+.2g}".replace("-", "−")


def _rgb(image: Image) -> Floats:
    """(3, H, W) in [0, 1], large enough to draw."""
    values = torch.as_tensor(image)
    return upscale(as_tensor(values) / 255 if values.dtype == torch.uint8 else values)


def _aspect(picture: Floats, shape: Sequence[int]) -> float:
    """Height over width of a location when a map (h, w) lies over a picture (3, H, W)."""
    return picture.shape[1] / shape[0] / (picture.shape[2] / shape[1])


def _show(axes: Axes, picture: Floats, shape: Sequence[int]) -> None:
    """A picture (3, H, W) on the axes of a map (h, w) over it: location (0, 0) has its centre there."""
    height, width = shape
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(np.moveaxis(picture, 0, -1), extent=extent, aspect=_aspect(picture, shape))


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
    _show(axes, picture * torch.where(inside > 0, 1, DIMMED).float().numpy(), region.shape)
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
    axes.spines[:].set(visible=True, color=colour, linewidth=3)


def _labelled(
    panel: EmbeddingPanel, name: str, points: ArrayLike, labels: ArrayLike
) -> tuple[NDArray[np.floating], NDArray[np.integer]]:
    at, of = np.asarray(points, dtype=float), np.asarray(labels)
    if of.shape == (0,):
        at, of = at.reshape(-1, 2), of.astype(int)
    if at.ndim != 2 or at.shape[1] != 2 or of.shape != at.shape[:1]:
        raise UserError(f"{panel.name}, {name}: points are {at.shape} and labels {of.shape}; pass (n, 2) and (n,).")
    if len(of) and not 0 <= of.min() <= of.max() < len(panel.classes):
        raise UserError(
            f"{panel.name}, {name}: labels go from {of.min()} to {of.max()}, but it has {len(panel.classes)} classes."
        )
    return at, of


def _name_classes(axes: Axes, panel: EmbeddingPanel) -> None:
    """Names at the medians of the training points, each moved as little up or down as keeps it clear of the others."""
    train, labels = _labelled(panel, "train", panel.train, panel.train_labels)
    frame, limits = axes.get_window_extent(), (axes.get_xlim(), axes.get_ylim())
    taken: list[Bbox] = []
    for index in np.unique(labels):
        x, y = np.median(train[labels == index], axis=0)
        text = axes.text(x, y, panel.classes[index], ha="center", va="center", fontsize=7, zorder=4)
        text.set_path_effects([withStroke(linewidth=2, foreground="white")])
        box = text.get_window_extent().padded(1)
        box = box.translated(max(frame.x0 - box.x0, 0) + min(frame.x1 - box.x1, 0), 0)
        blocked = [(one.y0 - box.y1, one.y1 - box.y0) for one in taken if one.x0 < box.x1 and box.x0 < one.x1]
        free = [
            move
            for move in sorted([0.0, *chain(*blocked)], key=abs)
            if frame.y0 <= box.y0 + move
            and box.y1 + move <= frame.y1
            and not any(low + 1e-6 < move < high - 1e-6 for low, high in blocked)
        ]
        taken.append(box.translated(0, (free or [0.0])[0]))  # no room for so many names: over the others
        to_x, to_y = axes.transData.inverted().transform((taken[-1].p0 + taken[-1].p1) / 2)
        text.set_position((to_x, to_y))
        axes.plot([x, to_x], [y, to_y], color=INK, linewidth=0.6, zorder=3)
    axes.set(xlim=limits[0], ylim=limits[1])
