"""DeConvolve, section 3.1 and figure 1: which term of the loss does what, and what it costs.

Paper:      Meeradevi et al. 2025, eq. 1; the ablation is ours, the paper has none.
Command:    make deconvolve-ablation [ARGS="sweep=grid"] [LAUNCHER=slurm]
Reports:    nothing in numbers: the terms are added "to reduce the area of focus of the filter" and so that each filter
            observes "a single spot".
Cost:       sweep `methods`: 6 trainings of 50 epochs, 25 to 40 minutes each on one CPU core (bfloat16), 1 GB;
            `terms` 11 trainings of 2 epochs on 10,000 images, `grid` 18 of the same: under a minute each.
Deviations: CIFAR-10 may be the JPEG tree; `terms` and `grid` train on fewer images for fewer epochs and test on 2,000,
            which their rows say; padding `same`; bfloat16 autocast (float32 with trainer=cpu).
"""

import math
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from experiments.deconvolve.feature_map_means import comparable, with_all_maps
from xcnn.evaluation.feature_maps import measure_feature_maps
from xcnn.figures import AblationPoint, ablation_plot, heat_tables
from xcnn.launch import Setup, launch
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary, claim
from xcnn.report.verdicts import wilson

AREAS = {"area": "area of live maps", "area_all": "area of all maps"}
GRIDS = {"accuracy": "test accuracy", "dead": "dead filters", "silent": "silent maps"}


def measure(setup: Setup, cell: Cell) -> Measured:
    return measure_feature_maps(cell, setup.trained(), setup.options.layers)


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    columns = [
        Column("accuracy", "test accuracy"),
        Column("dead", "dead filters"),
        *(Column(f"dead.relu{place}", f"dead, layer {place}") for place in (1, 2, 3)),
        Column("silent", "silent maps"),
        Column("area", "area (live)"),
        Column("black_pixels", "black share of all maps"),
        Column("dispersion", "dispersion (live)"),
        Column("succinctness", "succinctness"),
    ]
    completed = with_all_maps(rows)
    full = comparable(completed)
    short = [row for row in completed if row not in full.values()]
    grids = {
        mode: {_weights(r): r for r in short if r.method.startswith(f"{mode}-a")} for mode in ("literal", "floored")
    }
    claims = [
        claim([*full.values()], metric, "literal", "plain", "lower") for metric in ("area_all", "area", "dispersion")
    ]
    facts = {
        "full": full,
        "probe": sorted((r for r in short if "-a0" not in r.method), key=lambda row: row.mean["dead"]),
        "claim_digits": 3,
    }
    return Summary(
        "DeConvolve: ablation of the loss", columns=columns, drawings=_drawings(full, grids), claims=claims, facts=facts
    )


def _weights(row: Row) -> tuple[float, float]:
    penalty = row.records[0]["settings"]["penalty"]
    return penalty["alpha"], penalty["beta"]


def _drawings(full: Mapping[str, Row], grids: Mapping[str, Mapping[tuple[float, float], Row]]) -> dict[str, Figure]:
    """Accuracy against both areas, and the grids of both losses on one scale each, cells at chance hatched."""
    drawings = {}
    for metric, name in AREAS.items():
        points = [
            AblationPoint(row.method, row.mean[metric], row.std[metric], row.mean["accuracy"], row.std["accuracy"])
            for row in full.values()
        ]
        epochs = next(iter(full.values())).records[0]["training"]["epochs"]
        drawings[f"ablation-{metric.replace('_', '-')}.png"] = ablation_plot(points, name, f"{epochs} epochs")
    run = {pair: row for grid in grids.values() for pair, row in grid.items()}
    if not run:
        return drawings
    alphas, betas = (sorted(set(weights)) for weights in zip(*run, strict=True))

    def each(grid: Mapping[tuple[float, float], Row], metric: str) -> list[list[float]]:
        return [[grid[a, b].mean[metric] if (a, b) in grid else math.nan for b in betas] for a in alphas]

    chance = {mode: [[_at_chance(grid.get((a, b))) for b in betas] for a in alphas] for mode, grid in grids.items()}
    for metric, name in GRIDS.items():
        panels = {mode: each(grid, metric) for mode, grid in grids.items()}
        drawings[f"ablation-grid-{metric}.png"] = heat_tables(panels, alphas, betas, label=name, hatched=chance)
    return drawings


def _at_chance(row: Row | None) -> bool:
    """Whether the interval of the accuracy reaches down to that of guessing."""
    if row is None:
        return False
    record = row.records[0]
    return wilson(row.mean["accuracy"], record["n"] * row.n)[0] <= 1 / record["settings"]["n_classes"]


if __name__ == "__main__":
    launch(__file__, measure, summarise)
