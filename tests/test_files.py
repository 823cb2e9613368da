"""Files are whole or not there, whatever happens while they are written."""

import errno
import fcntl
import multiprocessing
import os
import signal
import socket
import stat
import time
from pathlib import Path

import pytest

from xcnn import files
from xcnn.errors import UserError
from xcnn.files import atomic, locked, read_json, remove_leftovers, writable, write_json


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


def _die_while_writing(path: Path) -> None:
    with atomic(path) as stream:
        stream.write("half")
        stream.flush()
        os.kill(os.getpid(), signal.SIGKILL)


def killed_while_writing(path: Path) -> Path:
    """The temporary file that a killed writer of `path` leaves behind."""
    process = multiprocessing.get_context("fork").Process(target=_die_while_writing, args=(path,))
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    (leftover,) = path.parent.glob(f".{path.name}.*.tmp")
    assert leftover.read_text() == "half"
    return leftover


def test_the_next_write_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    path, other = tmp_path / "figure.png", tmp_path / "figure.png.txt"
    path.write_text("old")
    leftover, others = killed_while_writing(path), killed_while_writing(other)
    assert path.read_text() == "old"
    with atomic(path) as stream:
        assert not leftover.exists()
        stream.write("new")
    assert sorted(tmp_path.iterdir()) == sorted([path, others]) and path.read_text() == "new"


def test_the_leftovers_of_a_tree_are_removed_and_nothing_else(tmp_path: Path) -> None:
    deep = tmp_path / "runs" / "a[1]"
    leftovers = [killed_while_writing(deep / "rows.parquet"), killed_while_writing(tmp_path / "figure.png")]
    kept = [deep / name for name in ("rows.parquet.tmp", ".rows.parquet.tmp", "abcdefgh.tmp")]
    for path in kept:
        path.touch()
    remove_leftovers(tmp_path)
    assert not any(path.exists() for path in leftovers)
    assert sorted(deep.iterdir()) == sorted(kept)
    remove_leftovers(tmp_path / "absent")


def test_temporary_files_of_the_living_and_of_other_hosts_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.ckpt"
    with monkeypatch.context() as context:
        context.setattr(socket, "gethostname", lambda: "another-host")
        elsewhere = killed_while_writing(path)
    with atomic(path) as first:
        first.write("first")
        living = set(tmp_path.iterdir()) - {elsewhere}
        assert len(living) == 1
        process = multiprocessing.get_context("fork").Process(target=write_json, args=(path, "second"))
        process.start()  # a writer of the same file, and a start beside it
        process.join(30)
        remove_leftovers(tmp_path)
        assert living < set(tmp_path.iterdir()) and read_json(path) == "second"
    assert path.read_text() == "first" and set(tmp_path.iterdir()) == {path, elsewhere}


def test_a_temporary_file_that_is_taken_away_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []

    def flock(descriptor: int, operation: int) -> None:
        if not taken:
            taken.extend(tmp_path.iterdir())
            taken[0].unlink()

    monkeypatch.setattr(files.fcntl, "flock", flock)
    write_json(tmp_path / "result.json", 1)
    assert len(taken) == 1 and [path.name for path in tmp_path.iterdir()] == ["result.json"]
    assert fcntl.flock is flock  # the one that was called
