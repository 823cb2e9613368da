"""DeConvolve, section 3.1 and figure 1: which term of the loss does what, and what it costs.

Paper:      Meeradevi et al. 2025, eq. 1; the ablation is ours, the paper has none.
Command:    make deconvolve-ablation [ARGS="sweep=grid"] [LAUNCHER=slurm]
Reports:    nothing in numbers: "as the two new terms are progressively added, the feature map becomes more meaningful".
Cost:       sweep `methods`: 6 trainings of 50 epochs, 25 to 40 minutes each on one CPU core (bfloat16), 1 GB;
            `terms` 11 trainings of 2 epochs on 10,000 images, `grid` 18 of the same: under a minute each.
Deviations: CIFAR-10 may be the JPEG tree; `terms` and `grid` train on fewer images for fewer epochs and test on 2,000,
            which their rows say; padding `same`; bfloat16 autocast (float32 with trainer=cpu).
"""

import math
from collections.abc import Sequence

from xcnn.evaluation.feature_maps import measure_feature_maps
from xcnn.figures import AblationPoint, ablation_plot, heat_table
from xcnn.launch import Setup, launch
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary


def measure(setup: Setup, cell: Cell) -> Measured:
    return measure_feature_maps(cell, setup.trained(), setup.options.layers)


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    columns = [
        Column("accuracy", "test accuracy"),
        Column("dead", "dead filters"),
        *(Column(f"dead.relu{place}", f"dead, layer {place}") for place in (1, 2, 3)),
        Column("silent", "silent maps"),
        Column("area", "area (live)"),
        Column("dispersion", "dispersion (live)"),
        Column("succinctness", "succinctness"),
    ]
    drawings = {}
    longest = max((row.records[0]["training"]["epochs"] for row in rows), default=0)
    full = [row for row in rows if row.records[0]["training"]["epochs"] == longest]
    points = [
        AblationPoint(row.method, row.mean["area"], row.std["area"], row.mean["accuracy"], row.std["accuracy"])
        for row in full
    ]
    drawings["ablation-accuracy.png"] = ablation_plot(points, "area of live maps", f"{longest} epochs")
    captions = {"ablation-accuracy.png": "Accuracy against the area of live maps; small and accurate is up and left."}
    for mode in ("literal", "floored"):
        grid = {_weights(row): row for row in rows if row.method.startswith(f"{mode}-a")}
        if not grid:
            continue
        alphas, betas = (sorted(set(weights)) for weights in zip(*grid, strict=True))
        for metric, name in (("accuracy", "test accuracy"), ("dead", "dead filters")):
            values = [[grid[a, b].mean[metric] if (a, b) in grid else math.nan for b in betas] for a in alphas]
            file = f"ablation-{mode}-{metric}.png"
            drawings[file] = heat_table(values, alphas, betas, label=name, title=f"{mode}: {name}")
            captions[file] = f"{name.capitalize()} over the alpha x beta grid, {mode} loss."
    shorter = [row for row in rows if row not in full and "-a0" not in row.method]
    text = "\n\n".join([_text(full), _keeping_filters_alive(shorter)])
    return Summary("DeConvolve: ablation of the loss", text, columns, drawings, captions)


def _weights(row: Row) -> tuple[float, float]:
    penalty = row.records[0]["settings"]["penalty"]
    return penalty["alpha"], penalty["beta"]


def _text(rows: Sequence[Row]) -> str:
    by_method = {row.method: row for row in rows}
    plain = by_method.get("plain")
    if plain is None:
        return "The plain network has not been run; nothing can be compared yet."
    lines = [
        "Area and dispersion are means over *live* maps, so that dying does not look like focusing; dead filters "
        "are those that no test image excites. The figures in this list are of the longest trainings."
    ]
    for method in ("literal", "floored"):
        row = by_method.get(method)
        if row:
            lines.append(
                f"- **{method}** against plain: accuracy {_change(row, plain, 'accuracy')}, dead filters "
                f"{_change(row, plain, 'dead')}, area {_change(row, plain, 'area')}, dispersion "
                f"{_change(row, plain, 'dispersion')}, succinctness {_change(row, plain, 'succinctness')}."
            )
    return "\n\n".join(lines)


def _keeping_filters_alive(rows: Sequence[Row]) -> str:
    """What the sweep `terms` says: which change to the loss leaves the filters alive."""
    plain = next((row for row in rows if row.method == "plain"), None)
    others = sorted((row for row in rows if row.method != "plain"), key=lambda row: row.mean["dead"])
    if plain is None or not others:
        return ""
    said = [
        f"{row.method} {row.mean['dead']:.2f} (accuracy {row.mean['accuracy']:.3f}, area {row.mean['area']:.2f})"
        for row in others
    ]
    return (
        f"**Which change keeps filters alive?** Dead filters in short trainings ({plain.setting}), "
        f"fewest first; plain has {plain.mean['dead']:.2f} (accuracy {plain.mean['accuracy']:.3f}, area "
        f"{plain.mean['area']:.2f}): {'; '.join(said)}."
    )


def _change(row: Row, plain: Row, metric: str) -> str:
    return f"{plain.mean[metric]:.3f} -> {row.mean[metric]:.3f}"


if __name__ == "__main__":
    launch(__file__, measure, summarise)
