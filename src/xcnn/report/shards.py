"""Cells of one list of images put together: the shards of a method, and the methods beside each other.

A cell measures one method on one shard. Intervals, wins and paired differences need all rows at once; they are formed
here from the rows of the finished cells, and stand in records of their own, one for each method.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from xcnn.fingerprint import fingerprint
from xcnn.report.tables import Record, Row

# From the rows of each method, in the order of the images, to the values of each method.
Pool = Callable[[Mapping[str, pd.DataFrame]], Mapping[str, Mapping[str, float]]]


def pooled(home: Path, records: Sequence[Record], pool: Pool) -> list[dict[str, Any]]:
    """Records of all methods whose shards are all finished on this machine.

    Methods are compared where all their settings but the method's own agree. A method of which a shard is missing is
    left out, and said to be.

    Args:
        home: the folder of the experiment's cells.
        records: of its finished cells.
        pool: see `Pool`.
    """
    comparable: dict[str, dict[str, dict[tuple[int, int], Record]]] = {}
    for record in records:
        if (home / record["cell"] / "rows.parquet").is_file():
            data = record["settings"]["data"]
            place = (data.get("shards", 1), data.get("shard", 0))
            comparable.setdefault(common(record), {}).setdefault(record["method"], {})[place] = record
    found = []
    for methods in comparable.values():
        members = {method: chosen for method, shards in methods.items() if (chosen := _complete(shards))}
        for method in methods.keys() - members.keys():
            print(f"{method}: {len(methods[method])} of its shards are finished; it is tabled when all are")
        if not members:
            continue
        rows = {method: _rows(home, shards) for method, shards in members.items()}
        values = pool(rows)
        found += [_record(shards, rows[method], values[method], sorted(members)) for method, shards in members.items()]
    return found


def side_by_side(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows whose methods were put together, by a name for their figures' files: data set and network.

    Of several groups of one name, such as a trial on fewer images, that with the most images comes first.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if "pooled" in row.records[0]["details"]:
            groups.setdefault(common(row.records[0]), []).append(row)
    named: dict[str, list[Row]] = {}
    for group in sorted(groups.values(), key=lambda group: -group[0].records[0]["n"]):
        name = f"{group[0].dataset}-{group[0].model}"
        named[name if name not in named else f"{name}-{len(named)}"] = group
    return named


def common(record: Record) -> str:
    """What records must agree in to be compared: all settings but the method's and the shard."""
    settings = {key: value for key, value in record["settings"].items() if key not in ("attribution", "method")}
    settings["data"] = {key: value for key, value in settings["data"].items() if key not in ("shard", "shards")}
    return fingerprint({"dataset": record["dataset"], "model": record["model"], **settings})


def _complete(shards: Mapping[tuple[int, int], Record]) -> list[Record]:
    """The records of the coarsest cut of which every shard is there, in order; none if no cut is complete."""
    for count in sorted({count for count, _ in shards}):
        if all((count, shard) in shards for shard in range(count)):
            return [shards[count, shard] for shard in range(count)]
    return []


def _rows(home: Path, shards: Sequence[Record]) -> pd.DataFrame:
    rows = pd.concat([pd.read_parquet(home / record["cell"] / "rows.parquet") for record in shards], ignore_index=True)
    if rows["id"].duplicated().any():
        raise AssertionError(f"an image was counted twice in {', '.join(record['cell'] for record in shards)}")
    return rows


def _record(
    shards: Sequence[Record], rows: pd.DataFrame, values: Mapping[str, float], compared: list[str]
) -> dict[str, Any]:
    first = shards[0]
    settings = {**first["settings"], "data": {**first["settings"]["data"], "shard": None, "shards": None}}
    members = {record["cell"]: record["fingerprint"] for record in shards}
    return {
        **first,
        "cell": re.sub(r"-\d+of\d+$", "", first["cell"]) + "-pooled",
        "values": {name: float(value) if pd.notna(value) else None for name, value in values.items()},
        "n": int((~rows["broken"]).sum()),
        "wall_s": round(sum(record["wall_s"] for record in shards), 1),
        "dirty": any(record["dirty"] for record in shards),
        "details": {
            "pooled": members,
            "compared": compared,
            "seconds": {
                name: round(sum(record["details"]["seconds"][name] for record in shards), 1)
                for name in first["details"].get("seconds", {})
            },
        },
        "files": {},
        "overrides": [],
        "settings": settings,
        "fingerprint": fingerprint({"settings": settings, "members": members}),
    }
