"""How long one asks and waits: times of single calls on a log axis."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from xcnn.figures.panels import SMALL, needed, new_figure
from xcnn.figures.style import FAINT, GRID, PALETTE, styled


@dataclass(frozen=True)
class Latency:
    """Milliseconds of single calls: the median, and the time that 95 % of the calls keep to."""

    method: str
    median: float
    most: float


@styled
def latency_plot(latencies: Sequence[Latency], forward: float, limits: Sequence[float] = (), title: str = "") -> Figure:
    """A line from the median to the 95th percentile of each method, on a log axis of milliseconds.

    Args:
        latencies: of the methods, in the order in which they are drawn from the top.
        forward: milliseconds of one forward pass; a line, and what the numbers beside the marks are multiples of.
        limits: milliseconds at which further lines are drawn.
        title: heading.

    Raises:
        UserError: nothing to draw.
    """
    needed(latencies, "latencies")
    figure = new_figure(6.2, 0.19 * len(latencies) + 0.9, title, compress=False)
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.axvline(forward, color=FAINT, linewidth=0.8)
    for limit in limits:
        axes.axvline(limit, color=FAINT, linewidth=0.8, linestyle=(0, (2, 2)))
    for row, each in enumerate(latencies):
        axes.plot([each.median, each.most], [row, row], color=PALETTE[0], linewidth=1.6, solid_capstyle="butt")
        axes.plot(each.median, row, "o", color=PALETTE[0], markersize=4)
        times = each.median / forward
        axes.annotate(
            f"{times:.3g}×" if times < 1000 else f"{times:,.0f}×",
            (each.most, row),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=SMALL,
        )
    axes.set_yticks(range(len(latencies)), [each.method for each in latencies])
    axes.set_ylim(len(latencies) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlim(axes.get_xlim()[0], 2.5 * axes.get_xlim()[1])
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.set_xlabel("milliseconds of one call, median to 95th percentile")
    return figure
