"""The page of `deconvolve/table1`: filters before and after the loss, by how they are matched."""

from collections.abc import Mapping, Sequence
from typing import Any

from xcnn.report import Claim, Column, PaperNumber, Row, Summary, claim_within

ENDS = {"index": "_index", "correlation": ""}  # of the names of values, by how the filters are matched
SAME = 0.5  # correlation below which two filters are not called the same


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    """Reproduced, if with the paper's loss the mean area of the filters falls, however they are matched.

    Of several seeds the paired difference decides; of one the two areas do.
    """
    columns = [
        Column("accuracy_before", "accuracy before"),
        Column("accuracy", "accuracy after"),
        Column("dead_before", "dead filters before"),
        Column("dead", "dead filters after"),
        Column("area_before", "area of the four, before"),
        Column("area", "area of the four, after"),
    ]
    shown = {record["cell"]: matchings(record) for row in rows for record in row.records}
    lines, claims = [], []
    for row in rows:
        for name in (one["name"] for one in shown[row.records[0]["cell"]]):
            after, before = (f"after, matched by {name}", f"area{ENDS[name]}"), ("before", f"area_before{ENDS[name]}")
            change = claim_within(row, "area", after, before, "lower")
            correlations = _correlations(row, shown, name)
            lines.append(
                {"row": row, "name": name, "end": ENDS[name], "moves": _moves(change), "correlations": correlations}
            )
            claims += [change] if row.method == "literal" else []
    moves = [line["moves"] for line in lines if line["row"].method == "literal"]
    closest = [line["correlations"][1] for line in lines if line["name"] == "correlation"]
    return Summary(
        "DeConvolve, table 1: filters before and after",
        columns=columns,
        claims=claims,
        facts={"shown": shown, "lines": lines, "apart": max(closest) < SAME, "claim_digits": 3},
        verdict="not run" if not moves else "reproduced" if set(moves) == {"it falls"} else "not reproduced",
    )


def _moves(claim: Claim) -> str:
    """What the mean area does: of one seed by its sign, of several by the paired difference."""
    ours = claim.difference
    if ours is None or ours.low <= 0 <= ours.high:
        return "not told apart"
    return "it falls" if ours.value < 0 else "it rises"


def _correlations(row: Row, shown: Mapping[str, list[dict[str, Any]]], name: str) -> tuple[float, float]:
    """The lowest and the highest correlation of a pair of filters, over seeds, matched by `name`."""
    found = [one["correlations"] for r in row.records for one in shown[r["cell"]] if one["name"] == name]
    return min(each[0] for each in found), max(each[-1] for each in found)


def matchings(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each matching of a record: its filters, and the correlations of the pairs. Older records have one."""
    found = record["details"].get("matchings") or {"correlation": record["details"]["filters"]}
    return [
        {
            "name": name,
            "filters": filters,
            "correlations": sorted(pair["correlation"] for pair in filters),
        }
        for name, filters in found.items()
    ]
