"""DeConvolve, section 3.1 and figure 1: which term of the loss does what, and what it costs.

Paper:      Meeradevi et al. 2025, eq. 1; the ablation is ours, the paper has none.
Command:    make deconvolve-ablation [ARGS="sweep=grid"] [LAUNCHER=slurm]
Reports:    nothing in numbers: the terms are added "to reduce the area of focus of the filter" and so that each filter
            observes "a single spot".
Cost:       sweep `methods`: 20 trainings of 50 epochs, 30 to 50 minutes each on one CPU core (bfloat16), 1 GB;
            `terms` 11 trainings of 2 epochs on 10,000 images, `grid` 18 of the same: under a minute each.
Deviations: CIFAR-10 may be the JPEG tree; `terms` and `grid` train on fewer images for fewer epochs and test on 2,000,
            which their rows say; padding `same`; bfloat16 autocast (float32 with trainer=cpu).
"""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from experiments.deconvolve.feature_map_means import comparable, with_all_maps
from experiments.deconvolve.loss_grid import grid_figures
from xcnn.evaluation.feature_maps import measure_feature_maps
from xcnn.figures import AblationPoint, ablation_plot
from xcnn.launch import Setup, launch
from xcnn.launch.titles import titled
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary, claim

AREAS = {"area": "area of live maps", "area_all": "area of all maps"}


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
    claims = [
        claim([*full.values()], metric, "literal", "plain", "lower") for metric in ("area_all", "area", "dispersion")
    ]
    # Our variants, which cost less accuracy: are maps more concentrated at equal accuracy?
    variants = [method for method in ("floored", "floored-decile") if {"plain", method} <= full.keys()]
    claims += [claim([*full.values()], "area", method, "plain", "lower", counts=False) for method in variants]
    probe = sorted((row for row in short if "-a0" not in row.method), key=lambda row: row.mean["dead"])
    facts = {"full": full, "probe": probe, "claim_digits": 3}
    drawings = _plots(full) | grid_figures(short)
    return Summary("DeConvolve: ablation of the loss", columns, drawings, claims, facts=facts)


def _plots(rows: Mapping[str, Row]) -> dict[str, Figure]:
    """Accuracy against both areas."""
    epochs = next(iter(rows.values())).records[0]["training"]["epochs"]
    return {
        f"ablation-{metric.replace('_', '-')}.png": ablation_plot(
            [
                AblationPoint(
                    titled(row.method), row.mean[metric], row.std[metric], row.mean["accuracy"], row.std["accuracy"]
                )
                for row in rows.values()
            ],
            name,
            f"{epochs} epochs",
        )
        for metric, name in AREAS.items()
    }


if __name__ == "__main__":
    launch(__file__, measure, summarise)
