"""DeConvolve, section 4.2: does the loss raise the succinctness from 0.85 to 1.00, and by what?

Paper:      Meeradevi et al. 2025, section 4.2; the algorithm is in a supplement that is not public.
Command:    make deconvolve-succinctness
Reports:    ratio 0.85 before, 1.00 after; neither layer nor seeds nor spread are given.
Cost:       the six trainings of 50 epochs of `make deconvolve-ablation` (shared), then 10 to 20 s a cell.
Deviations: the ratio follows the section's words (spec); alternatives stand beside it. Two seeds on a CPU, five on
            a GPU. CIFAR-10 may be the JPEG tree; bfloat16 autocast in training; padding `same`.
"""

from collections.abc import Sequence
from dataclasses import replace

from xcnn.evaluation.feature_maps import measure_feature_maps
from xcnn.launch import Setup, launch
from xcnn.metrics.feature_maps import thinned_succinctness
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary
from xcnn.report.tables import markdown

# The readings of "the ratio", and what each is a ratio of.
READINGS = {
    "succinctness": "weight in P / all weight (the section's words)",
    "count_inside": "counts in P / all counts",
    "count_inside_to_outside": "counts in P / counts outside P",
    "black_positions": "share of positions that no filter covers",
    "black_pixels": "black share of the maps, dead ones included",
    "covered_once": "share of covered positions with exactly one filter",
}


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    run, layers = setup.trained(), options.layers
    found = measure_feature_maps(cell, run, layers)
    if options.penalty is None:
        return found
    # The control for filter death: the plain network with as many filters taken away as this one has killed.
    plain = setup.variant("penalty=none").trained()
    kept = {layer: 1 - found.values[f"dead.{layer}"] for layer in layers}
    control = thinned_succinctness(
        plain.network,
        kept,
        plain.data.test.images[: options.thinned.images],
        options.thinned.draws,
        options.seed,
    )
    return replace(found, values={**found.values, **control})


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    layers = rows[0].records[0]["settings"]["layers"]
    columns = [
        Column("accuracy", "test accuracy"),
        Column("dead", "dead filters"),
        Column("silent", "silent maps"),
        *(Column(f"succinctness.{layer}", f"succinctness {layer}") for layer in layers),
        Column("succinctness", "succinctness, all layers"),
        Column("thinned", "plain network thinned alike"),
    ]
    return Summary("DeConvolve, section 4.2: succinctness", _text(rows, paper, layers), columns)


def _text(rows: Sequence[Row], paper: Sequence[PaperNumber], layers: Sequence[str]) -> str:
    by_method = {row.method: row for row in rows}
    if not {"plain", "literal", "floored"} <= by_method.keys():
        return "Not all of plain, literal and floored have been run; there is no before and after to speak of yet."
    three = plain, literal, floored = [by_method[name] for name in ("plain", "literal", "floored")]
    printed = {number.row: number for number in paper if number.metric == "succinctness"}
    before, after = printed["plain"], printed["literal"]

    def reproduces(row: Row, key: str) -> bool:
        ends = ((plain, before), (row, after))
        return all(abs(ours.mean[key] - number.value) <= number.half_unit for ours, number in ends)

    keys = [f"{name}{where}" for name in READINGS for where in (*(f".{layer}" for layer in layers), "")]
    found = [f"`{key}` ({row.method})" for row in (literal, floored) for key in keys if reproduces(row, key)]
    ours = ", ".join(f"{row.method} {row.show('succinctness')}" for row in three)
    answer = (
        f"Within the rounding of both printed numbers: {', '.join(found)}."
        if found
        else "No reading, in any layer or over layers, comes within the rounding of both printed numbers."
    )
    readings = [
        [f"`{name}`", meaning, *(_by_layer(row, name, layers) for row in three)] for name, meaning in READINGS.items()
    ]
    return "\n\n".join(
        [
            f"**Is {before.value:.2f} -> {after.value:.2f} reproduced?** By the section's own words, mean over layers: "
            f"{ours}. {answer}",
            "**How much of it is filter death?** The control thins the plain network at random to as many filters "
            "as the penalised one has left alive, layer by layer, and measures again: what that alone brings is due to "
            "the number of filters, not to what they learnt. "
            + " ".join(_death(plain, row) for row in (literal, floored)),
            "**Every reading**, by layer and, after the dash, over layers:",
            markdown(["reading", "share of what", *(row.method for row in three)], readings),
        ]
    )


def _death(plain: Row, row: Row) -> str:
    gain = row.mean["succinctness"] - plain.mean["succinctness"]
    by_death = row.mean["thinned"] - plain.mean["succinctness"]
    share = "" if gain <= 0 else f" ({by_death / gain:.0%} of it)" if by_death > 0 else " (none of the gain)"
    return (
        f"{row.method.capitalize()}: succinctness {gain:+.3f}, of which thinning alone brings {by_death:+.3f}{share}; "
        f"dead filters {plain.mean['dead']:.2f} -> {row.mean['dead']:.2f}, silent maps {plain.mean['silent']:.2f} -> "
        f"{row.mean['silent']:.2f}, accuracy {plain.mean['accuracy']:.3f} -> {row.mean['accuracy']:.3f}."
    )


def _by_layer(row: Row, name: str, layers: Sequence[str]) -> str:
    values = [row.mean.get(f"{name}.{layer}", float("nan")) for layer in layers]
    return " / ".join(f"{value:.2f}" for value in values) + f" - {row.mean.get(name, float('nan')):.2f}"


if __name__ == "__main__":
    launch(__file__, measure, summarise)
