"""DeConvolve, table 1: four filters on one image before and after the loss, with a description of each.

Paper:      Meeradevi et al. 2025, table 1 and section 4.1.
Command:    make deconvolve-table1
Reports:    pictures of four filters on a bird, and a language model's description of each: head and beak, body, wings.
Cost:       two trainings of 50 epochs a row of cells (shared with the other experiments), then about 10 s.
Deviations: which filters the paper shows, and which filter "before" belongs to one "after", it does not say. Half of
            ours have the highest scores for the class before the loss, half after; they are matched once by index (both
            trainings start from the same weights) and once by correlation (Hungarian method). The words are measured,
            not a language model's. The image is the first bird of the test set that both networks get right.
"""

from collections.abc import Sequence

import torch

from experiments.deconvolve.filter_pairs import ENDS, FilterPairs, matchings
from xcnn.data.tensors import scale
from xcnn.evaluation.filters import FilterExplainer
from xcnn.evaluation.predictions import accuracy
from xcnn.evaluation.selection import choose_image
from xcnn.evaluation.subject import networks
from xcnn.figures import save_png
from xcnn.filters import filter_correlation, match_filters, paired
from xcnn.language import MeasuredDescriber
from xcnn.launch import Setup, launch
from xcnn.launch.titles import titled
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary

SAME = 0.5  # correlation below which two filters are not called the same


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    after, before = setup.trained(), setup.variant("penalty=none").trained()
    settings = options.figure
    choice = choose_image([before.network, after.network], after.data, settings.label, correct=True)
    new, old = (FilterExplainer(run, settings.layer, MeasuredDescriber()) for run in (after, before))
    sample = scale(after.data.test.images[: settings.matching_images])
    with torch.inference_mode():
        features = new.split.trunk(sample), old.split.trunk(sample)
    partners = {"index": torch.arange(features[0].shape[1]), "correlation": match_filters(*features)[0]}
    correlation = filter_correlation(features[1], features[0])  # before, after
    first, second = (side.ranked(choice.image, settings.label) for side in (old, new))
    found = {
        name: FilterPairs.explained(old, new, choice, paired(first, second, partner, settings.top))
        for name, partner in partners.items()
    }
    values = {
        "accuracy": accuracy(after),
        "accuracy_before": accuracy(before),
        "dead": new.activity.dead_share,
        "dead_before": old.activity.dead_share,
    }
    files = {name: f"table1-{options.method}-{name}.png" for name in found}
    for name, pairs in found.items():
        save_png(pairs.figure(f"{titled(options.method)}, matched by {name}"), cell.folder / files[name])
        values |= zip((f"area_before{ENDS[name]}", f"area{ENDS[name]}"), pairs.areas(), strict=True)
    claims = [pairs.claims() for pairs in found.values()]
    values |= zip(("claims", "supported"), map(sum, zip(*claims, strict=True)), strict=True)
    details = {
        "image": choice.index,
        "label": choice.label,
        "layer": settings.layer,
        "matchings": {name: pairs.as_record(correlation) for name, pairs in found.items()},
        "networks": networks(before=before, after=after),
    }
    return after.measured(values, 1, details=details, files=[*files.values()])


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    """Reproduced, if with the paper's loss the mean area of the filters falls, however they are matched."""
    columns = [
        Column("accuracy_before", "accuracy before"),
        Column("accuracy", "accuracy after"),
        Column("dead_before", "dead filters before"),
        Column("dead", "dead filters after"),
        Column("area_before", "area of the four, before"),
        Column("area", "area of the four, after"),
    ]
    records = [record for row in rows for record in row.records]
    shown = {record["cell"]: matchings(record) for record in records}
    literal = [one for record in records if record["method"] == "literal" for one in shown[record["cell"]]]
    matched = [one["correlations"][-1] for found in shown.values() for one in found if one["name"] == "correlation"]
    falls = [one["areas"][1] < one["areas"][0] for one in literal]
    return Summary(
        "DeConvolve, table 1: filters before and after",
        columns=columns,
        facts={"shown": shown, "rises": not any(falls), "apart": max(matched) < SAME},
        verdict="not run" if not falls else "reproduced" if all(falls) else "not reproduced",
    )


if __name__ == "__main__":
    launch(__file__, measure, summarise)
