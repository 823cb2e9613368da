"""Post-hoc self-explanation: does the weight 1/D_b of eq. 8 explain the fall of B234?

Paper:      Boubekki & Clemmensen 2026, eq. 8 and table 2: B234 falls from 75.2 (B4) to 52.8 % on CUB-200.
Command:    make self-explanation-block-weight
Reports:    nothing; the ablation is ours.
Cost:       the trainings and most prototypes of `make self-explanation-table2` (shared), then one to eight minutes a
            cell on a CPU core, 3 GB.
Deviations: dividing the normalised blocks by D_b gives blocks 2, 3 and 4 of ResNet 76, 19 and 5 % of the squared norm:
            the shallow block decides. 1/sqrt(D_b) gives 57, 29, 14 %, and 1 a third to each.
"""

import math
from collections.abc import Sequence

from xcnn.evaluation.predictions import accuracies, prediction_rows
from xcnn.evaluation.prototypes import points
from xcnn.figures import AccuracySeries, tradeoff_plot
from xcnn.launch import Setup, launch
from xcnn.prototypes import BLOCK_WEIGHTS, EncoderExplanation
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary

DEPTHS = {1: "B4", 2: "B34", 3: "B234"}


def measure(setup: Setup, cell: Cell) -> Measured:
    subject = setup.prototyped()
    method = subject.method
    assert isinstance(method, EncoderExplanation)
    values = accuracies(prediction_rows(cell, subject, setup.options.chunk))
    image = subject.data.test.images[:1].to(subject.device)
    squared = [BLOCK_WEIGHTS[method.block_weight](part.shape[1]) ** 2 for part in method.encoder.maps(image)]
    blocks = zip(method.encoder.blocks, squared, strict=True)
    shares = {f"share/{block}": 100 * part / sum(squared) for block, part in blocks}
    return subject.measured({**values, **shares}, len(subject.data.test))


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    blocks = sorted({metric for row in rows for metric in row.mean if metric.startswith("share/")})
    columns = [
        Column("train", "train %", 1),
        Column("test", "test %", 1),
        Column("tied/test", "ties, test %", 1),
        *(Column(block, f"squared norm of {block.removeprefix('share/')}, %", 0) for block in blocks),
    ]
    by_place: dict[tuple[str, str, int, str], Row] = {}
    for row in rows:
        chosen = row.records[0]["settings"]
        by_place[row.dataset, row.model, chosen["depth"], chosen["prototypes"]["block_weight"]] = row
    text = [
        "Accuracy of B4, B34 and B234 with the blocks' normalised vectors divided by their numbers of channels (eq. "
        "8), by the roots of these, or not at all. B4 has one block, which no weight changes."
    ]
    series = []
    for dataset, model in dict.fromkeys((d, m) for d, m, _, _ in by_place):
        alone = by_place.get((dataset, model, 1, "1/D"))
        for depth in (2, 3):
            keys = {weight: (dataset, model, depth, weight) for weight in BLOCK_WEIGHTS}
            found = {weight: by_place[key] for weight, key in keys.items() if key in by_place}
            if alone is None or "1/D" not in found:
                continue
            name = alone.records[0]["data"]["name"]
            by_channels = found["1/D"]
            apart = by_channels.mean["test"] - alone.mean["test"]
            each = ", ".join(f"{weight}: {row.show('test', 1)}" for weight, row in found.items())
            spread = max((x for row in (alone, by_channels) if not math.isnan(x := row.std["test"])), default=0.0)
            others = [row.mean["test"] - by_channels.mean["test"] for weight, row in found.items() if weight != "1/D"]
            text.append(
                f"**{name}, {DEPTHS[depth]}** ({by_channels.seeds}). B4 has "
                f"{alone.show('test', 1)} % on test images; {DEPTHS[depth]} with 1/D differs by {points(apart)} points "
                f"({each}). {_explained(apart, spread, others)}"
            )
            series.append(
                AccuracySeries(
                    f"{name}, {model}",
                    DEPTHS[depth],
                    list(found),
                    [row.mean["train"] for row in found.values()],
                    [row.mean["test"] for row in found.values()],
                    [row.std["train"] for row in found.values()],
                    [row.std["test"] for row in found.values()],
                )
            )
    drawings = (
        {"block_weight-accuracy.png": tradeoff_plot(series, "weight of a block", "accuracy, %")} if series else {}
    )
    captions = {"block_weight-accuracy.png": "Accuracy over the weight of the blocks: test solid, train dashed."}
    return Summary(
        "Post-hoc self-explanation: the weight of the blocks", "\n\n".join(text), columns, drawings, captions
    )


def _explained(apart: float, spread: float, gained: Sequence[float]) -> str:
    """Whether 1/D is what a deeper explanation loses by: what the other weights gain, none of them chosen.

    Args:
        apart: of the accuracy with 1/D from B4's, in points.
        spread: the larger of the two's standard deviations over seeds.
        gained: by each other weight in its place.
    """
    if apart >= 0:
        return "Nothing is lost that a weight would explain."
    if -apart <= spread:
        return "That is within the spread of the seeds."
    if not gained:
        return "No other weight was run."
    least, most = min(gained), max(gained)
    verdict = (
        "each gives all of it back, so the weight explains the fall"
        if least >= -apart
        else "each gives most of it back, so the weight explains most of the fall"
        if least >= -apart / 2
        else "the weight explains part of the fall at best"
        if most > spread
        else "the weight does not explain the fall"
    )
    return f"The other weights change it by {' and '.join(map(points, gained))} points: {verdict}."


if __name__ == "__main__":
    launch(__file__, measure, summarise)
