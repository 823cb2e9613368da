"""The alpha x beta grid of the ablation: both losses on one colour scale, cells that learnt nothing hatched."""

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from xcnn.figures import heat_tables
from xcnn.launch.titles import titled
from xcnn.report import Row
from xcnn.report.verdicts import wilson

METRICS = {"accuracy": "test accuracy", "dead": "dead filters", "silent": "silent maps"}
Grid = dict[tuple[float, float], Row]


def grid_figures(rows: Sequence[Row], losses: Sequence[str] = ("literal", "floored")) -> dict[str, Figure]:
    """A figure for each metric by file name, from the rows whose methods are named `<loss>-a<alpha>-b<beta>`."""
    grids: dict[str, Grid] = {
        loss: {_weights(row): row for row in rows if row.method.startswith(f"{loss}-a0")} for loss in losses
    }
    run = [weights for grid in grids.values() for weights in grid]
    if not run:
        return {}
    alphas, betas = (sorted(set(weights)) for weights in zip(*run, strict=True))

    def values(grid: Grid, metric: str) -> list[list[float]]:
        return [[grid[a, b].mean[metric] if (a, b) in grid else math.nan for b in betas] for a in alphas]

    chance = {
        titled(loss): [[(a, b) in grid and at_chance(grid[a, b]) for b in betas] for a in alphas]
        for loss, grid in grids.items()
    }
    return {
        f"ablation-grid-{metric}.png": heat_tables(
            {titled(loss): values(grid, metric) for loss, grid in grids.items()},
            alphas,
            betas,
            label=name,
            hatched=chance,
        )
        for metric, name in METRICS.items()
    }


def _weights(row: Row) -> tuple[float, float]:
    penalty = row.settings["penalty"]
    return penalty["alpha"], penalty["beta"]


def at_chance(row: Row) -> bool:
    """Whether the interval of the accuracy reaches down to that of guessing among the classes."""
    record = row.records[0]
    return wilson(row.mean["accuracy"], record["n"] * row.n)[0] <= 1 / record["settings"]["n_classes"]
