"""The page of `deconvolve/table1`: filters before and after the loss, by how they are matched."""

from collections.abc import Mapping, Sequence
from typing import Any

from xcnn.report import Column, PaperNumber, Row, Summary

ENDS = {"index": "_index", "correlation": ""}  # of the names of values, by how the filters are matched
SAME = 0.5  # correlation below which two filters are not called the same


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


def matchings(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each matching of a record: its filters, and their mean area before and after. Older records have one."""
    found = record["details"].get("matchings") or {"correlation": record["details"]["filters"]}
    return [
        {
            "name": name,
            "filters": filters,
            "areas": [record["values"][f"{when}{ENDS[name]}"] for when in ("area_before", "area")],
            "correlations": sorted(pair["correlation"] for pair in filters),
        }
        for name, filters in found.items()
    ]
