"""The demo: DeConvolve's loss on `shapes`, drawn on the fly, with true masks to check the maps against.

Paper:      Meeradevi et al. 2025, eq. 1, algorithm 1, sections 3.2 to 4.2, on a data set of our own.
Command:    make demo
Reports:    nothing on this data set.
Cost:       three trainings of a few epochs on 4,000 pictures of 32 px: 2 to 3 minutes on 2 CPU cores, 1 GB.
Deviations: `shapes` in CIFAR-10's place; few epochs. Localisation, which the paper does not measure, is possible
            because the masks are known.
"""

from collections.abc import Sequence
from dataclasses import replace

from experiments.deconvolve.feature_map_means import with_all_maps
from xcnn.evaluation.feature_maps import measure_feature_maps
from xcnn.evaluation.filter_pairs import FilterPairs, pairs_figure
from xcnn.evaluation.filters import FilterExplainer, score_localisation
from xcnn.evaluation.selection import choose_image
from xcnn.evaluation.subject import Subject, networks
from xcnn.figures import save_png, score_ramp
from xcnn.language import MeasuredDescriber
from xcnn.launch import Setup, launch
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    run = setup.trained()
    found = measure_feature_maps(cell, run, options.layers)
    explainer = FilterExplainer(run, options.figure.layer, MeasuredDescriber())
    values = {**found.values, **score_localisation(explainer)}
    files: list[str] = []
    details: dict[str, object] = {}
    if options.penalty is not None:  # the pictures show before and after
        before = setup.variant("penalty=none").trained()
        files, details = pictures(setup, cell, before, run, explainer)
    return replace(found, values=values, files=files, details=details)


def pictures(
    setup: Setup, cell: Cell, before: Subject, after: Subject, new: FilterExplainer
) -> tuple[list[str], dict[str, object]]:
    """Filters after the loss and those of the same index before it on one image a class, and their ramps."""
    options, figure = setup.options, setup.options.figure
    old, found = FilterExplainer(before, figure.layer, MeasuredDescriber()), list[FilterPairs]()
    for label in figure.labels:
        choice = choose_image([before.network, after.network], after.data, label, correct=True)
        same = [(k, k) for k in new.ranked(choice.image, label)[: figure.top]]
        found.append(FilterPairs.explained(old, new, choice, same))
    files = [f"shapes-{drawn}-{options.method}.png" for drawn in ("filters", "ramp")]
    save_png(pairs_figure(found, f"{figure.layer}, {options.method} loss"), cell.folder / files[0])
    ramps = new.ramps(figure.labels[0], 6)
    save_png(score_ramp(ramps, figure.labels[0], f"{options.method} loss"), cell.folder / files[1])
    words = [
        {"image": pairs.choice.index, "label": pairs.choice.label, **a.as_record()}
        for pairs in found
        for _, a in pairs.pairs
    ]
    return files, {"layer": figure.layer, "filters": words, "networks": networks(before=before, after=after)}


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    columns = [
        Column("accuracy", "test accuracy"),
        Column("dead", "dead filters"),
        Column("silent", "silent maps"),
        Column("area", "area (live)"),
        Column("black_pixels", "black share of all maps"),
        Column("dispersion", "dispersion (live)"),
        Column("succinctness", "succinctness"),
        Column("energy", "energy in the object"),
        Column("pointing", "pointing game"),
        Column("chance", "object's share (chance)"),
    ]
    facts = {"methods": {row.method: row for row in with_all_maps(rows)}}
    return Summary("Demo: concise learning on shapes", columns, facts=facts, verdict="not comparable")


if __name__ == "__main__":
    launch(__file__, measure, summarise)
