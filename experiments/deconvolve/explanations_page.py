"""The page of `deconvolve/explanations`: three texts, and whether sign and rank agree more than by chance."""

from collections.abc import Sequence
from typing import Any

from xcnn.report import Column, PaperNumber, Row, Summary


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
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
