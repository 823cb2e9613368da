"""Curves, costs and trade-offs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator
from numpy.typing import ArrayLike

from xcnn.errors import UserError
from xcnn.figures.panels import SMALL, WIDTH, needed, new_figure, wrapped
from xcnn.figures.style import FAINT, GRID, INK, MARKERS, PALETTE, styled

MOST_CURVES = 4  # in a panel, beside the control
TICKS = 8  # settings that an axis names each
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (4, 1, 1, 1)), (0, (2, 1)))


@dataclass(frozen=True)
class AblationPoint:
    """One method of an ablation: mean and standard deviation over seeds of a metric and of accuracy."""

    method: str
    metric: float
    metric_std: float
    accuracy: float
    accuracy_std: float


@dataclass(frozen=True)
class Curve:
    """A mean over images and its band: (steps,) each.

    Attributes:
        mean, low, high: values, and ends of the band.
        share: shares of the pixels, rising, at which they are; None for equal steps from no pixel to all.
    """

    mean: ArrayLike
    low: ArrayLike
    high: ArrayLike
    share: ArrayLike | None = None


@dataclass(frozen=True)
class Cost:
    """What a method costs.

    Attributes:
        method: name of the method.
        setting: what the method ran on or in, such as the layer or the package.
        time: time per image over that of one plain forward pass.
        memory: peak memory over that of one plain forward pass; NaN where it was not measured.
        extrapolated: whether the time is computed from a part of the work; such a mark is hollow.
    """

    method: str
    setting: str
    time: float
    memory: float = float("nan")
    extrapolated: bool = False


@dataclass(frozen=True)
class AccuracySeries:
    """A method's accuracies on a data set over a setting.

    Attributes:
        dataset: name of the data set, which has axes of its own.
        method: name of the method, which has a colour of its own.
        x: (n,) values of the setting; names make a categorical axis, in the order in which they come.
        train: (n,) mean training accuracies; NaN where there is none.
        test: (n,) mean test accuracies; NaN where there is none.
        train_std: (n,) half lengths of the error bars of training accuracies; NaN for none.
        test_std: (n,) half lengths of the error bars of test accuracies; NaN for none.
    """

    dataset: str
    method: str
    x: Sequence[float] | Sequence[str]
    train: ArrayLike
    test: ArrayLike
    train_std: ArrayLike
    test_std: ArrayLike

    @classmethod
    def tested(
        cls, dataset: str, method: str, x: Sequence[float] | Sequence[str], test: ArrayLike, test_std: ArrayLike
    ) -> "AccuracySeries":
        """A series without accuracies on training images."""
        nothing = np.full(len(x), np.nan)
        return cls(dataset, method, x, nothing, test, nothing, test_std)


@styled
def score_ramp(curves: Mapping[str, ArrayLike], target: str = "", title: str = "") -> Figure:
    """Section 3.2's ramp: change of the class probability as a filter's map goes from 0 to 1, a curve per filter.

    Args:
        curves: (steps,) by filter, from level 0 to level 1 in equal steps; the last value is the filter's score.
        target: the class.
        title: heading.
    """
    if not curves:
        raise UserError("curves is empty; pass at least one to draw.")
    figure = Figure(figsize=(5.6, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color=FAINT, linewidth=0.8)
    ends = []
    for index, (name, curve) in enumerate(curves.items()):
        values = np.asarray(curve, dtype=float)
        colour = PALETTE[index % len(PALETTE)]
        style = ("-", "--", ":")[index // len(PALETTE) % 3]
        axes.plot(np.linspace(0, 1, len(values)), values, color=colour, linestyle=style)
        ends.append((values[-1], name, colour))
    low, high = axes.get_ylim()
    heights = _spread([end for end, _, _ in ends], gap=(high - low) * 0.052)
    for height, (end, name, colour) in zip(heights, ends, strict=True):
        axes.annotate(
            f"{name}  {end:+.2g}".replace("-", "−"),
            (1, end),
            xytext=(1.05, height),
            va="center",
            color=colour,
            fontsize=8,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 1},
            annotation_clip=False,
        )
    axes.set_xlim(0, 1)
    axes.set_xlabel("activation level of the filter's map")
    axes.set_ylabel(f"change in probability{f' of {target}' if target else ''}")
    axes.set_title(title)
    return figure


@styled
def ablation_plot(points: Sequence[AblationPoint], metric: str, title: str = "") -> Figure:
    """Accuracy against a metric, a mark per method with its standard deviations over seeds; up and right is better."""
    if not points:
        raise UserError("points is empty; pass at least one to draw.")
    figure = Figure(figsize=(5.6, 3.6), layout="constrained")
    axes = figure.subplots()
    for index, point in enumerate(points):
        axes.errorbar(
            point.metric,
            point.accuracy,
            xerr=point.metric_std,
            yerr=point.accuracy_std,
            color=PALETTE[index % len(PALETTE)],
            marker=MARKERS[index % len(MARKERS)],
            markersize=6,
            markeredgecolor="white",
            markeredgewidth=0.6,
            elinewidth=1.2,
            linestyle="none",
            label=point.method,
        )
    axes.margins(0.1)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel(metric)
    axes.set_ylabel("accuracy")
    axes.set_title(title)
    figure.legend(loc="outside right upper")
    return figure


@styled
def curves_plot(
    curves: Mapping[str, Mapping[str, Curve]],
    y_label: str = "probability of the class",
    title: str = "",
    control: str = "random",
) -> Figure:
    """Mean curves with bands by panel (`insertion`, `deletion`) and method; a method looks the same in every panel.

    Methods differ in colour, in dashes and in markers, so that they are told apart in grey and by colour-blind readers.

    Args:
        curves: by panel and method.
        y_label: what is measured, and its unit.
        title: heading.
        control: name of the method that knows nothing of the image; drawn in grey below the others, where it is given.

    Raises:
        UserError: no curve, or more than four methods beside the control.
    """
    needed(curves, "curves")
    methods = list(dict.fromkeys(name for panel in curves.values() for name in panel if name != control))
    if len(methods) > MOST_CURVES:
        raise UserError(
            f"{len(methods)} curves in a panel are not told apart ({', '.join(methods)}); choose {MOST_CURVES} of them "
            f"beside the control {control}."
        )
    looks: dict[str, dict[str, Any]] = {
        method: {"color": PALETTE[i], "linestyle": DASHES[i], "marker": MARKERS[i]} for i, method in enumerate(methods)
    }
    looks[control] = {"color": FAINT, "linestyle": (0, (1, 1)), "marker": ""}
    figure = new_figure(WIDTH, 2.9, title, compress=False)
    axes = figure.subplots(1, len(curves), squeeze=False, sharey=True)[0]
    drawn: dict[str, Line2D] = {}
    widest = 0.0
    for (panel, by_method), cell in zip(curves.items(), axes, strict=True):
        for method, curve in sorted(by_method.items(), key=lambda item: item[0] != control):
            mean = np.asarray(curve.mean)
            share = np.linspace(0, 1, len(mean)) if curve.share is None else np.asarray(curve.share)
            look, widest = looks[method], max(widest, float(share[-1]))
            band = (np.asarray(curve.low), np.asarray(curve.high))
            cell.fill_between(share, *band, color=look["color"], alpha=0.1, lw=0)
            # Markers at every fourth of the way, of each method elsewhere, so that they do not cover each other.
            stride = max(len(mean) // 4, 1)
            places = (list(looks).index(method) * stride // MOST_CURVES, stride)
            (drawn[method],) = cell.plot(share, mean, **look, markevery=places, markersize=4.5, markeredgecolor="white")
        cell.set_xlim(0, widest)
        cell.set_xlabel("share of pixels")
        cell.set_title(panel)
        cell.grid(color=GRID, linewidth=0.6)
        cell.set_axisbelow(True)
    axes[0].set_ylabel(y_label)
    named = {method: drawn[method] for method in looks if method in drawn}
    figure.legend(handles=[*named.values()], labels=[*named], loc="outside lower center", ncols=len(named))
    return figure


@styled
def cost_plot(costs: Sequence[Cost], title: str = "") -> Figure:
    """Section 4.5: time and peak memory over those of one forward pass, the line at 1; time is on a log axis."""
    needed(costs, "costs")
    methods = list(dict.fromkeys(cost.method for cost in costs))
    settings = list(dict.fromkeys(cost.setting for cost in costs))
    figure = new_figure(WIDTH, len(methods) * (0.16 * len(settings) + 0.1) + 1.1, title, compress=False)
    axes = figure.subplots(1, 2, sharey=True, width_ratios=[3, 2])
    axes[0].set_xscale("log")
    axes[0].xaxis.set_minor_formatter("")
    for cell, label in zip(axes, ("time / one forward pass", "peak memory / one forward pass"), strict=True):
        cell.axvline(1, color=FAINT, linewidth=0.8)
        for cost in costs:
            value = cost.time if cell is axes[0] else cost.memory
            if not np.isfinite(value):
                continue
            index = settings.index(cost.setting)
            height = methods.index(cost.method) + (index - (len(settings) - 1) / 2) * 0.8 / len(settings)
            colour = PALETTE[index % len(PALETTE)]
            face = "white" if cost.extrapolated and cell is axes[0] else colour
            cell.plot(value, height, MARKERS[index % len(MARKERS)], color=colour, markerfacecolor=face, markersize=5)
            cell.annotate(
                f"{value:.3g}×" if value < 1000 else f"{value:,.0f}×",
                (value, height),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                fontsize=SMALL,
            )
        cell.xaxis.set_major_formatter("{x:,g}×")
        cell.set_xlabel(label)
        cell.set_yticks(range(len(methods)), methods)
        cell.tick_params(axis="y", length=0)
        for edge in range(1, len(methods)):
            cell.axhline(edge - 0.5, color=GRID, linewidth=0.6, zorder=0)
    axes[0].set_ylim(len(methods) - 0.5, -0.5)
    low, high = axes[0].get_xlim()
    # At least two powers of ten, and room for the last number.
    axes[0].set_xlim(min(low, 0.8), max(12, high * (high / low) ** 0.18))
    axes[1].set_xlim(0, 1.25 * axes[1].get_xlim()[1])
    marks = [
        Line2D([], [], color=PALETTE[index % len(PALETTE)], marker=MARKERS[index % len(MARKERS)], ls="none", label=name)
        for index, name in enumerate(settings)
    ]
    if any(cost.extrapolated for cost in costs):
        marks.append(Line2D([], [], color=INK, marker="o", mfc="white", ls="none", label="hollow: extrapolated"))
    figure.legend(handles=marks, loc="outside lower right", ncols=min(len(marks), 4))
    return figure


@styled
def tradeoff_plot(
    series: Sequence[AccuracySeries],
    x_label: str,
    y_label: str = "accuracy",
    log: bool = False,
    title: str = "",
    references: Mapping[str, Mapping[str, float]] | None = None,
    share_y: bool = True,
    parts: bool = True,
) -> Figure:
    """Accuracy over a setting, a line per method: test solid, train dashed; one axes per data set.

    Args:
        series: one per data set and method.
        x_label: what the setting is.
        y_label: what is measured, and its unit.
        log: the setting's axis; for numbers only. An axis of few numbers has ticks at these.
        title: heading.
        references: test accuracies that the setting does not change, by data set and method, such as those of B4; a
            horizontal line each.
        share_y: whether all data sets have one range of accuracies.
        parts: whether the legend says which lines are of test and training images; not, for quantities that have none.

    Raises:
        UserError: no series, two for the same data set and method, lengths that differ, references on a data set
            without series, or a log axis for names or numbers not above 0.
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
    references = references or {}
    if unknown := {*references} - {*datasets}:
        raise UserError(f"{', '.join(sorted(unknown))} has a reference but no series; pass one of each.")
    figure = new_figure(min(2.4 * len(datasets) + 1.0, WIDTH), 2.9, title, compress=False)
    axes = figure.subplots(1, len(datasets), squeeze=False, sharey=share_y)[0]
    constants = list(dict.fromkeys(name for values in references.values() for name in values))
    lines: dict[str, dict[str, Any]] = {
        name: {"color": INK, "linestyle": DASHES[-1 - i % 3], "linewidth": 1.2} for i, name in enumerate(constants)
    }
    for dataset, by_method in references.items():
        for name, value in by_method.items():
            axes[datasets.index(dataset)].axhline(value, **lines[name], zorder=1)
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
        elif len(values) <= TICKS:
            cell.set_xticks(values, [f"{value:g}" for value in values])
        elif log:
            cell.xaxis.set_major_formatter("{x:g}")
        cell.grid(color=GRID, linewidth=0.6)
        cell.set_axisbelow(True)
        cell.set_title(wrapped(dataset, int(figure.get_figwidth() / len(datasets) * 12)))
        cell.set_xlabel(x_label)
    axes[0].set_ylabel(y_label)
    looks = [
        Line2D([], [], color=PALETTE[i % len(PALETTE)], marker=MARKERS[i % len(MARKERS)], markersize=4, label=method)
        for i, method in enumerate(methods)
    ]
    drawn = {"test": "-", "train": "--"}
    if not any(np.isfinite(np.asarray(one.train, dtype=float)).any() for one in series):
        del drawn["train"]
    styles = [Line2D([], [], color=INK, ls=style, label=part) for part, style in drawn.items() if parts]
    levels = [Line2D([], [], **lines[name], label=name) for name in constants]
    handles = [*looks, *levels, *styles]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6))
    return figure


def _spread(heights: Sequence[float], gap: float) -> list[float]:
    """Heights moved apart to at least `gap`, in their order, about the mean of each group that had to move."""
    order = np.argsort(heights, kind="stable")
    groups: list[list[float]] = []  # each: centre, count
    for height in np.asarray(heights, dtype=float)[order]:
        groups.append([height, 1])
        while len(groups) > 1 and groups[-1][0] - groups[-2][0] < gap * (groups[-1][1] + groups[-2][1]) / 2:
            centre, count = groups.pop()
            below, under = groups.pop()
            groups.append([(centre * count + below * under) / (count + under), count + under])
    placed = [centre + gap * (i - (count - 1) / 2) for centre, count in groups for i in range(int(count))]
    spread = np.empty(len(placed))
    spread[order] = placed
    return spread.tolist()
