"""What `deconvolve/explanations` records of the three texts, and what it makes of the records."""

from collections.abc import Sequence
from typing import Any

from xcnn.evaluation.explanations import ImageExplanation
from xcnn.evaluation.selection import ImageChoice
from xcnn.report import Column, Row, Summary


def shown_text(choice: ImageChoice, found: ImageExplanation) -> dict[str, Any]:
    """A text, its buckets, and what the removal of each named filter does."""
    words = found.explanation
    return {
        "image": choice.index,
        "label": choice.label,
        "predicted": choice.predicted,
        "probability": round(float(choice.probabilities.max()), 4),
        "text": words.text,
        "neutral": len(words.neutral),
        "buckets": [
            {
                "side": side,
                "score": round(sentence.score, 4),
                "filters": len(sentence.filters),
                "named": list(sentence.named),
                "effect": round(float(found.effects[list(sentence.named)].mean()), 4),
                "text": sentence.text,
            }
            for side, sentences in (("for", words.positive), ("against", words.negative))
            for sentence in sentences
        ],
    }


def explanations_summary(rows: Sequence[Row]) -> Summary:
    """The verdict is on CIFAR-10 with the paper's loss: whether sign and rank agree more than by chance."""
    columns = [
        Column("accuracy", "test accuracy"),
        Column("dead", "dead filters"),
        Column("named", "named filters", 1),
        Column("sign", "sign agrees"),
        Column("sign_chance", "by chance"),
        Column("rank", "rank"),
        Column("rank_other", "rank, other class"),
        Column("fall_for", "fall without those for"),
        Column("rise_against", "rise without those against"),
    ]
    counted = [row for row in rows if row.dataset == "cifar10" and row.method == "literal"]
    ends = [
        [record["values"].get(f"{name}.{end}") for record in row.records for name in ("sign-sign_chance", "rank")]
        for row in counted
        for end in ("low", "high")
    ]
    verdict: Any = "not comparable"
    if ends and all(value is not None for end in ends for value in end):
        lows, highs = ends[0], ends[1]
        if all(value > 0 for value in lows):
            verdict = "reproduced"
        elif any(value < 0 for value in highs):
            verdict = "not reproduced"
    return Summary(
        "DeConvolve, section 4.3: explanations by semantic averaging, and whether they are true",
        columns=columns,
        verdict=verdict,
        facts={"counted": bool(counted), "model_ran": any(_model(row) for row in rows)},
    )


def _model(row: Row) -> bool:
    return row.settings["words"] != "measured"
