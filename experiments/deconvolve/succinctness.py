"""DeConvolve, section 4.2: does the loss raise the succinctness from 0.85 to 1.00, and by what?

Paper:      Meeradevi et al. 2025, section 4.2; the algorithm is in a supplement that is not public.
Command:    make deconvolve-succinctness
Reports:    ratio 0.85 before, 1.00 after; neither layer nor seeds nor spread are given.
Cost:       the 20 trainings of 50 epochs of `make deconvolve-ablation` (shared), then about a minute a cell.
Deviations: the ratio follows the section's words (spec); alternatives stand beside it, and all pairs of the two
            settings that the paper does not give. CIFAR-10 may be the JPEG tree; bfloat16 autocast in training; padding
            `same`.
"""

from collections.abc import Sequence
from dataclasses import replace

from experiments.deconvolve.feature_map_means import comparable, with_all_maps
from experiments.deconvolve.readings import READINGS, by_layer, matching, pairs_facts, pairs_figure
from xcnn.evaluation.feature_maps import measure_feature_maps
from xcnn.launch import Setup, launch
from xcnn.metrics.feature_maps import thinned_succinctness
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary, claim


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    run, layers = setup.trained(), options.layers
    found = measure_feature_maps(cell, run, layers, **options.readings)
    if options.penalty is None:
        return found
    # The control for filter death: the plain network with as many filters taken away as this one has killed.
    plain = setup.variant("penalty=none").trained()
    kept = {layer: 1 - found.values[f"dead.{layer}"] for layer in layers}
    images = plain.data.test.images[: options.thinned.images]
    control = thinned_succinctness(plain.network, kept, images, options.thinned.draws, options.seed)
    return replace(found, values={**found.values, **control})


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    layers = rows[0].settings["layers"]
    columns = [
        Column("accuracy", "test accuracy"),
        Column("dead", "dead filters"),
        Column("silent", "silent maps"),
        *(Column(f"succinctness.{layer}", f"succinctness {layer}") for layer in layers),
        Column("succinctness", "succinctness, all layers"),
        Column("thinned", "plain network thinned alike"),
    ]
    completed = with_all_maps(rows)
    one, swept = comparable(completed), {r.method: r for r in completed if any("@" in name for name in r.mean)}
    printed = {number.row: number for number in paper}
    ends = printed["plain"], printed["literal"]
    found = {
        method: matching(one["plain"], one[method], by_layer(READINGS, layers), ends)
        for method in ("literal", "floored")
        if {"plain", method} <= one.keys()
    }
    facts = {"methods": one, "layers": layers, "readings": READINGS, "matching": found, "pairs": None}
    facts |= {"before": ends[0], "after": ends[1], "claim_digits": 3}
    drawings = {}
    if {"plain", "literal"} <= swept.keys():
        facts["pairs"] = pairs_facts(swept["plain"], swept["literal"], layers, ends)
        drawings["succinctness-pairs.png"] = pairs_figure(
            {name: swept[name] for name in ("plain", "literal")}, layers[0]
        )
    return Summary(
        "DeConvolve, section 4.2: succinctness",
        columns=columns,
        drawings=drawings,
        claims=[claim([*one.values()], "succinctness", "literal", "plain", "higher")],
        counts=lambda comparison: comparison.paper.row != "floored",
        facts=facts,
    )


if __name__ == "__main__":
    launch(__file__, measure, summarise)
