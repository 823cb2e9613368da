"""Post-hoc self-explanation: does the weight 1/D_b of eq. 8 explain the fall of B234?

Paper:      Boubekki & Clemmensen 2026, eq. 8 and table 2: B234 falls from 75.2 (B4) to 52.8 % on CUB-200.
Command:    make self-explanation-block-weight
Reports:    nothing; the ablation is ours.
Cost:       the trainings and most prototypes of `make self-explanation-table2` (shared), then one to eight minutes a
            cell on a CPU core, 3 GB.
Deviations: dividing the normalised blocks by D_b gives blocks 2, 3 and 4 of ResNet 76, 19 and 5 % of the squared norm:
            the shallow block decides. 1/sqrt(D_b) gives 57, 29, 14 %, and 1 a third to each.
"""

from collections.abc import Sequence

from omegaconf import DictConfig

from xcnn.figures import AccuracySeries, tradeoff_plot
from xcnn.launch import launch, prototyped
from xcnn.prototypes import BLOCK_WEIGHTS, EncoderExplanation
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary
from xcnn.report.prototypes import accuracies, prediction_rows

DEPTHS = {1: "B4", 2: "B34", 3: "B234"}


def measure(cfg: DictConfig, cell: Cell) -> Measured:
    subject = prototyped(cfg)
    method = subject.method
    assert isinstance(method, EncoderExplanation)
    values = accuracies(prediction_rows(cell, subject, cfg.chunk))
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
            apart = found["1/D"].mean["test"] - alone.mean["test"]
            each = ", ".join(f"{weight}: {row.show('test', 1)}" for weight, row in found.items())
            gained = " and ".join(
                f"{row.mean['test'] - found['1/D'].mean['test']:+.1f} points ({weight})"
                for weight, row in found.items()
                if weight != "1/D"
            )
            text.append(
                f"**{name}, {DEPTHS[depth]}.** B4 has {alone.show('test', 1)} % on test images; {DEPTHS[depth]} with "
                f"1/D differs by {apart:+.1f} points ({each})."
                + (f" Another weight in its place makes {gained}." if gained else "")
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


if __name__ == "__main__":
    launch(__file__, measure, summarise)
