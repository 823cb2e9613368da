"""DeConvolve, table 1: four filters on one image before and after the loss, with a description of each.

Paper:      Meeradevi et al. 2025, table 1 and section 4.1.
Command:    make deconvolve-table1
Reports:    pictures of four filters on a bird, and a language model's description of each: head and beak, body, wings.
Cost:       two trainings of 50 epochs a row of cells (shared with the other experiments), then about 10 s.
Deviations: the filters are the highest-scoring live ones for the class, which the paper does not say; the filter
            "before" is the one that correlates most with the one "after" (Hungarian matching of two trainings from the
            same initial weights); the words are measured, not a language model's. The image is the first bird of the
            test set that both networks get right.
"""

from collections.abc import Sequence

import torch

from xcnn.data.tensors import scale
from xcnn.evaluation.filters import FilterExplainer
from xcnn.evaluation.predictions import accuracy
from xcnn.evaluation.selection import choose_image
from xcnn.figures import BeforeAfter, filter_comparison, save_png
from xcnn.filters import match_filters
from xcnn.language import MeasuredDescriber
from xcnn.launch import Setup, launch
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary
from xcnn.report.tables import markdown
from xcnn.training import area


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    after, before = setup.trained(), setup.variant("penalty=none").trained()
    data, settings = after.data, options.figure
    choice = choose_image([before.network, after.network], data, settings.label, correct=True)
    new, old = (FilterExplainer(run, settings.layer, MeasuredDescriber()) for run in (after, before))
    sample = scale(data.test.images[: settings.matching_images])
    with torch.inference_mode():
        partner, correlation = match_filters(new.split.trunk(sample), old.split.trunk(sample))
    shown = new.ranked(choice.image, settings.label)[: settings.top]
    pairs = [
        (old.explain(choice, settings.label, int(partner[k])), new.explain(choice, settings.label, k)) for k in shown
    ]
    file = f"table1-{options.method}.png"
    figure = filter_comparison([BeforeAfter(choice.image, b.view, a.view) for b, a in pairs], f"{options.method} loss")
    save_png(figure, cell.folder / file)
    pictured = torch.stack(
        [torch.as_tensor(side.view.activation) for part in zip(*pairs, strict=True) for side in part]
    )
    areas = area(pictured[:, None]).flatten().chunk(2)
    values = {
        "accuracy": accuracy(after),
        "accuracy_before": accuracy(before),
        "dead": new.activity.dead_share,
        "dead_before": old.activity.dead_share,
        "area": float(areas[1].mean()),
        "area_before": float(areas[0].mean()),
        "claims": float(sum(len(f.description.claims) for pair in pairs for f in pair)),
        "supported": float(sum(f.supported for pair in pairs for f in pair)),
    }
    details = {
        "image": choice.index,
        "label": choice.label,
        "layer": settings.layer,
        "filters": [
            {"before": b.as_record(), "after": a.as_record(), "correlation": round(float(correlation[a.index]), 3)}
            for b, a in pairs
        ],
    }
    return after.measured(values, 1, details=details, files=[file])


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    columns = [
        Column("accuracy_before", "accuracy before"),
        Column("accuracy", "accuracy after"),
        Column("dead_before", "dead filters before"),
        Column("dead", "dead filters after"),
        Column("area_before", "area of the four, before"),
        Column("area", "area of the four, after"),
    ]
    parts = [
        "The paper's table shows pictures and a language model's words, and no number; there is nothing to match but "
        "the claim that the maps after the loss are easier to recognise. Below are the same filters in two trainings "
        "from the same initial weights, with every word measured. Dead filters and areas are of the layer shown."
    ]
    captions: dict[str, str] = {}
    for record in (record for row in rows for record in row.records):
        details, values = record["details"], record["values"]
        parts.append(
            f"**{record['method'].capitalize()} loss**, test image {details['image']} ({details['label']}), layer "
            f"{details['layer']}: {values['supported']:.0f} of {values['claims']:.0f} claims in the words are "
            "supported by the evidence when measured again."
        )
        lines = [
            [place, when, f"{details['layer']}/{f[when]['filter']}", f"{f[when]['score']:+.4f}", f[when]["text"]]
            for place, f in enumerate(details["filters"], start=1)
            for when in ("before", "after")
        ]
        parts.append(markdown(["row", "loss", "filter", "score", "words (measured, no language model)"], lines))
        matched = ", ".join(f"{f['correlation']:.2f}" for f in details["filters"])
        caption = f"Table 1 with the {record['method']} loss. Correlation of each filter with its partner: {matched}."
        captions |= dict.fromkeys(record["files"], caption)
    return Summary("DeConvolve, table 1: filters before and after", "\n\n".join(parts), columns, captions=captions)


if __name__ == "__main__":
    launch(__file__, measure, summarise)
