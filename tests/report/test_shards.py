"""Shards and methods put together: nothing lost, nothing twice, and only what is comparable is compared."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from xcnn.fingerprint import fingerprint
from xcnn.report.shards import pooled, side_by_side
from xcnn.report.tables import aggregate


def cell(home: Path, method: str, ids: list[str], shard: int = 0, shards: int = 1, **settings: Any) -> dict[str, Any]:
    """A finished cell with a row for each id; the value of "a7" is 7."""
    name = f"{method}-{shard}of{shards}"
    (home / name).mkdir(parents=True, exist_ok=True)
    values = [float(each[1:]) for each in ids]
    rows = pd.DataFrame({"image": range(len(ids)), "id": ids, "broken": [False] * len(ids), "value": values})
    rows.to_parquet(home / name / "rows.parquet", index=False)
    data = {"size": None, "shard": shard, "shards": shards}
    given = {"attribution": {"_target_": method}, "method": method, "data": data, **settings}
    return {
        "cell": name, "method": method, "dataset": "d", "model": "m", "settings": given, "wall_s": 1.0, "dirty": False,
        "fingerprint": fingerprint(given), "details": {"seconds": {"total": 2.0}}, "files": {"x.png": "1"},
    }  # fmt: skip


def means(rows: dict[str, pd.DataFrame]) -> dict[str, dict[str, float]]:
    return {method: {"mean": frame["value"].mean(), "compared": len(rows)} for method, frame in rows.items()}


def test_shards_equal_one_run(tmp_path: Path) -> None:
    ids = [f"a{k}" for k in range(10)]
    whole = pooled(tmp_path / "1", [cell(tmp_path / "1", "x", ids)], means)
    parts = [
        cell(tmp_path / "4", "x", ids[low:high], k, 4)
        for k, (low, high) in enumerate([(0, 3), (3, 5), (5, 9), (9, 10)])
    ]
    cut = pooled(tmp_path / "4", parts[::-1], means)
    assert len(whole) == len(cut) == 1
    assert whole[0]["values"] == cut[0]["values"] == {"mean": 4.5, "compared": 1}
    assert whole[0]["n"] == cut[0]["n"] == 10
    assert whole[0]["cell"] == cut[0]["cell"] == "x-pooled"
    assert whole[0]["settings"] == cut[0]["settings"]  # so that the rendered row is the same
    assert cut[0]["wall_s"] == 4 and cut[0]["details"]["seconds"] == {"total": 8.0} and cut[0]["files"] == {}


def test_a_missing_shard_is_said_and_not_tabled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = [cell(tmp_path, "x", ["a1"], 0, 2), cell(tmp_path, "y", ["a1", "a2"])]
    assert [each["method"] for each in pooled(tmp_path, records, means)] == ["y"]
    assert "x: 1 of its shards are finished" in capsys.readouterr().out


def test_one_run_and_its_shards_are_not_counted_together(tmp_path: Path) -> None:
    records = [cell(tmp_path, "x", ["a1", "a3"]), cell(tmp_path, "x", ["a1"], 0, 2), cell(tmp_path, "x", ["a3"], 1, 2)]
    (found,) = pooled(tmp_path, records, means)
    assert found["n"] == 2 and list(found["details"]["pooled"]) == ["x-0of1"]


def test_an_image_in_two_shards_is_refused(tmp_path: Path) -> None:
    records = [cell(tmp_path, "x", ["a1", "a2"], 0, 2), cell(tmp_path, "x", ["a2"], 1, 2)]
    with pytest.raises(AssertionError, match="counted twice"):
        pooled(tmp_path, records, means)


def test_only_what_agrees_in_all_other_settings_is_compared(tmp_path: Path) -> None:
    records = [cell(tmp_path, "x", ["a1"]), cell(tmp_path, "y", ["a2"]), cell(tmp_path, "z", ["a3"], fraction=0.5)]
    found = {each["method"]: each for each in pooled(tmp_path, records, means)}
    assert {method: each["values"]["compared"] for method, each in found.items()} == {"x": 2, "y": 2, "z": 1}
    assert found["x"]["details"]["compared"] == ["x", "y"]


def test_cells_whose_rows_are_elsewhere_are_left_alone(tmp_path: Path) -> None:
    record = cell(tmp_path, "x", ["a1"])
    (tmp_path / record["cell"] / "rows.parquet").unlink()
    assert pooled(tmp_path, [record], means) == []


def test_a_trial_stands_beside_the_table_and_not_in_it(tmp_path: Path) -> None:
    records = [cell(tmp_path, method, ["a1", "a2"]) for method in ("x", "y")]
    records.append(cell(tmp_path, "z", ["a1"], fraction=0.5))
    trial = {**cell(tmp_path / "trial", "x", ["a1"], fraction=0.5), "cell": "try-x"}
    (tmp_path / "trial" / "x-0of1").rename(tmp_path / "try-x")
    found = [{**each, "seed": 0, "data": {"name": "d"}} for each in pooled(tmp_path, [*records, trial], means)]
    groups = side_by_side(aggregate(found))
    assert {name: sorted(row.method for row in group) for name, group in groups.items()} == {
        "d-m": ["x", "y"],
        "d-m-1": ["x", "z"],
    }
