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

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from xcnn.data.tensors import scale
from xcnn.evaluation.filters import FilterExplainer
from xcnn.evaluation.predictions import accuracy
from xcnn.evaluation.selection import choose_image
from xcnn.evaluation.subject import networks
from xcnn.figures import BeforeAfter, filter_comparison, save_png
from xcnn.filters import filter_correlation, match_filters, paired
from xcnn.language import MeasuredDescriber
from xcnn.launch import Setup, launch
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary
from xcnn.training import area

MATCHINGS = {"index": "_index", "correlation": ""}  # ends of the names of their values


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
    values = {
        "accuracy": accuracy(after),
        "accuracy_before": accuracy(before),
        "dead": new.activity.dead_share,
        "dead_before": old.activity.dead_share,
        "claims": 0.0,
        "supported": 0.0,
    }
    details: dict[str, Any] = {"image": choice.index, "label": choice.label, "layer": settings.layer, "matchings": {}}
    files = []
    for name, end in MATCHINGS.items():
        chosen = paired(first, second, partners[name], settings.top)
        pairs = [(old.explain(choice, settings.label, b), new.explain(choice, settings.label, a)) for b, a in chosen]
        views = [BeforeAfter(choice.image, b.view, a.view) for b, a in pairs]
        files.append(f"table1-{options.method}-{name}.png")
        title = f"{options.method} loss, matched by {name}"
        save_png(filter_comparison(views, title, new.threshold), cell.folder / files[-1])
        for when, place in (("area_before", 0), ("area", 1)):
            shown = torch.stack([torch.as_tensor(pair[place].view.activation) for pair in pairs])
            values[f"{when}{end}"] = float(area(shown[None]).mean())
        values["claims"] += sum(len(f.description.claims) for pair in pairs for f in pair)
        values["supported"] += sum(f.supported for pair in pairs for f in pair)
        details["matchings"][name] = [
            {
                "before": b.as_record(),
                "after": a.as_record(),
                "correlation": round(float(correlation[b.index, a.index]), 3),
            }
            for b, a in pairs
        ]
    details["networks"] = networks(before=before, after=after)
    return after.measured(values, 1, details=details, files=files)


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
    shown = {record["cell"]: _matchings(record) for record in records}
    literal = [one for record in records if record["method"] == "literal" for one in shown[record["cell"]]]
    falls = [one["areas"][1] < one["areas"][0] for one in literal]
    return Summary(
        "DeConvolve, table 1: filters before and after",
        columns=columns,
        facts={"shown": shown, "rises": not any(falls)},
        verdict="not run" if not falls else "reproduced" if all(falls) else "not reproduced",
    )


def _matchings(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each matching of a record: its filters, and their mean area before and after. Older records have one."""
    found = record["details"].get("matchings") or {"correlation": record["details"]["filters"]}
    return [
        {
            "name": name,
            "filters": filters,
            "areas": [record["values"][f"{when}{MATCHINGS[name]}"] for when in ("area_before", "area")],
            "correlations": sorted(pair["correlation"] for pair in filters),
        }
        for name, filters in found.items()
    ]


if __name__ == "__main__":
    launch(__file__, measure, summarise)
