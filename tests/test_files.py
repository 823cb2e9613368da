"""Files are whole or not there, whatever happens while they are written."""

import errno
import multiprocessing
import os
import stat
import time
from pathlib import Path

import pytest

from xcnn.errors import UserError
from xcnn.files import atomic, locked, read_json, writable, write_json


def test_an_error_while_writing_leaves_the_old_content_and_no_scraps(tmp_path: Path) -> None:
    path = tmp_path / "table.md"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic(path) as stream:
        stream.write("half of the n")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["table.md"]
    with atomic(path) as stream:
        stream.write("new")
    assert path.read_text() == "new"
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize(
    ("code", "remedy"),
    [(errno.ENOSPC, "Free some space"), (errno.EACCES, "paths.runs=DIR"), (errno.EROFS, "paths.runs")],
)
def test_what_the_system_refuses_is_one_message_with_the_remedy(tmp_path: Path, code: int, remedy: str) -> None:
    path = tmp_path / "result.json"
    with pytest.raises(UserError, match=remedy), atomic(path):
        raise OSError(code, os.strerror(code))
    assert not list(tmp_path.iterdir())


def test_other_errors_of_the_system_are_not_dressed_up(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "result.json"):
        (tmp_path / "absent").read_text()


def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        writable(tmp_path / "runs")
    with pytest.raises(UserError, match="cannot write"), locked(tmp_path / "runs" / ".lock"):
        pass


def test_writable_leaves_nothing_behind(tmp_path: Path) -> None:
    assert not list(writable(tmp_path / "results").iterdir())


def test_json_with_a_nan_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "result.json", {"a": float("nan")})
    assert not (tmp_path / "result.json").exists()
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(UserError, match=r"result\.json is not JSON"):
        read_json(tmp_path / "result.json")


def _hold(path: Path, log: Path) -> None:
    with locked(path):
        with log.open("a") as stream:
            stream.write("in ")
        time.sleep(0.2)
        with log.open("a") as stream:
            stream.write("out ")


def test_a_lock_lets_one_process_in_at_a_time(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    log = tmp_path / "log"
    processes = [context.Process(target=_hold, args=(tmp_path / "lock", log)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert log.read_text() == "in out " * 3
