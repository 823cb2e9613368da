"""Cells: finished once, refused when changed, resumed by chunk, never half a result."""

import json
import runpy
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from xcnn.errors import UserError
from xcnn.report import provenance
from xcnn.report.cells import Cell, Measured, records

LABELS = {"dataset": "toy", "model": "none", "method": "plain", "seed": 0}


def cell(folder: Path, **settings: Any) -> Cell:
    settings = {"training": {"epochs": 2}, "data": {"size": 3}} | settings
    return Cell("paper/table", "toy-none-plain-s0", folder / "toy-none-plain-s0", settings, LABELS)


def measured(value: float = 0.5, **options: Any) -> Measured:
    return Measured({"accuracy": value}, 3, {"name": "toy", "manifest": "0" * 16}, **options)


def test_a_finished_cell_is_not_measured_again(tmp_path: Path) -> None:
    first = cell(tmp_path).run(lambda _: measured())

    def never(_: Cell) -> Measured:
        raise AssertionError("measured twice")

    assert cell(tmp_path).run(never) == first
    assert first["values"] == {"accuracy": 0.5} and first["method"] == "plain"
    assert {"git_sha", "dirty", "lock", "versions", "machine"} <= first.keys()
    assert list(records(tmp_path)) == [first]


def test_the_commit_is_that_which_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = ["old"]
    monkeypatch.setattr(provenance, "_git", lambda *_: head[0])
    provenance.provenance.cache_clear()

    def while_someone_commits(_: Cell) -> Measured:
        head[0] = "new"
        return measured()

    record = cell(tmp_path).run(while_someone_commits)
    provenance.provenance.cache_clear()
    assert record["git_sha"] == "old"


def test_a_changed_setting_is_refused_and_named(tmp_path: Path) -> None:
    cell(tmp_path).run(lambda _: measured())
    with pytest.raises(UserError, match=r"training\.epochs: 2 -> 9") as refusal:
        cell(tmp_path, training={"epochs": 9}).run(lambda _: measured())
    assert "data" not in str(refusal.value).split("To replace")[0]
    assert "cell=NAME" in str(refusal.value)


def test_what_is_undefined_is_recorded_as_null(tmp_path: Path) -> None:
    record = cell(tmp_path).run(lambda _: measured(float("nan")))
    assert record["values"]["accuracy"] is None
    assert json.loads(cell(tmp_path).result.read_text())["values"] == {"accuracy": None}


def test_an_error_leaves_no_result_and_finished_chunks_are_kept(tmp_path: Path) -> None:
    seen: list[range] = []

    def rows(images: range, fail_at: int | None = None) -> pd.DataFrame:
        if images.start == fail_at:
            raise RuntimeError("power cut")
        seen.append(images)
        return pd.DataFrame({"square": np.square(images)})

    def whole(one: Cell, fail_at: int | None = None) -> Measured:
        frame = one.rows(10, 4, lambda images: rows(images, fail_at))
        return measured(float(frame["square"].sum()))

    with pytest.raises(RuntimeError):
        cell(tmp_path).run(lambda one: whole(one, fail_at=8))
    assert cell(tmp_path).finished() is None
    assert seen == [range(0, 4), range(4, 8)]
    record = cell(tmp_path).run(whole)
    assert seen == [range(0, 4), range(4, 8), range(8, 10)]
    assert record["values"]["accuracy"] == sum(i * i for i in range(10))
    frame = pd.read_parquet(cell(tmp_path).folder / "rows.parquet")
    assert frame["image"].tolist() == list(range(10)) and frame["square"].tolist() == [i * i for i in range(10)]
    assert not list(cell(tmp_path).folder.glob("rows-*"))


def test_chunks_of_other_settings_are_never_mixed_in(tmp_path: Path) -> None:
    def whole(one: Cell, value: int, fail: bool) -> Measured:
        def rows(images: range) -> pd.DataFrame:
            if fail and images.start:
                raise RuntimeError("power cut")
            return pd.DataFrame({"value": [value] * len(images)})

        return measured(float(one.rows(4, 2, rows)["value"].sum()))

    with pytest.raises(RuntimeError):
        cell(tmp_path).run(lambda one: whole(one, 1, fail=True))
    record = cell(tmp_path, training={"epochs": 5}).run(lambda one: whole(one, 100, fail=False))
    assert record["values"]["accuracy"] == 400


KILLED = """
    import os, sys
    from pathlib import Path
    import numpy as np, pandas as pd
    from xcnn.report.cells import Cell, Measured

    def rows(images):
        if images.start == int(sys.argv[2]):
            os.kill(os.getpid(), 9)
        return pd.DataFrame({"square": np.square(images)})

    def measure(cell):
        frame = cell.rows(12, 3, rows)
        return Measured({"sum": float(frame["square"].sum())}, 12, {"name": "toy", "manifest": "-"})

    labels = {"dataset": "toy", "model": "none", "method": "plain", "seed": 0}
    Cell("paper/table", "killed", Path(sys.argv[1]) / "killed", {"a": 1}, labels).run(measure)
"""


def test_kill_9_in_the_middle_and_again_then_finish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "killed.py"
    script.write_text(textwrap.dedent(KILLED))
    for fatal in (3, 9):
        assert subprocess.run([sys.executable, script, tmp_path, str(fatal)], check=False).returncode == -9
        assert not (tmp_path / "killed" / "result.json").exists()
    monkeypatch.setattr(sys, "argv", [str(script), str(tmp_path), "-1"])
    runpy.run_path(str(script))
    record = json.loads((tmp_path / "killed" / "result.json").read_text())
    assert record["values"]["sum"] == sum(i * i for i in range(12))
    assert len(pd.read_parquet(tmp_path / "killed" / "rows.parquet")) == 12


def test_a_damaged_result_is_named(tmp_path: Path) -> None:
    cell(tmp_path).run(lambda _: measured())
    cell(tmp_path).result.write_text('{"values": ')
    with pytest.raises(UserError, match=r"result\.json is not JSON"):
        cell(tmp_path).finished()


def test_a_name_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="letters, digits"):
        Cell("paper/table", "../escape", tmp_path, {}, LABELS)


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    tmp_path.joinpath("file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        cell(tmp_path / "file").run(lambda _: measured())
