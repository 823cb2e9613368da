"""A checkpoint survives a full disk and `kill -9`, and the training goes on from it to the same weights."""

import errno
import io
import multiprocessing
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.loggers import CSVLogger

from tests.training.test_fit import module, run, weights
from xcnn import files
from xcnn.errors import UserError
from xcnn.training import ConcisePenalty
from xcnn.training.checkpoints import AtomicCheckpointIO, read_checkpoint

EPOCHS = 4
MEGABYTE = 2**20


def training(folder: Path, **options: Any) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    trained, record = run(folder, EPOCHS, module(ConcisePenalty()), **options)
    return weights(trained), record


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def no_space() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def break_writes(nth: int, stop: Any) -> None:
    """Let the nth binary file that is opened from now on stop when half of its content is on the disk."""
    opened = 0
    original = os.fdopen

    class Half(io.BufferedWriter):
        def write(self, content: Any) -> int:
            super().write(content[: len(content) // 2])
            self.flush()
            stop()
            return len(content)

    def fdopen(descriptor: int, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        nonlocal opened
        opened += mode == "wb"
        if mode == "wb" and opened == nth:
            return Half(io.FileIO(descriptor, "wb"))
        return original(descriptor, mode, *arguments, **options)

    files.os.fdopen = fdopen  # type: ignore[assignment]


def killed_at_the_third_epoch(folder: Path) -> None:
    break_writes(3, kill)
    training(folder)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Equal bits in every process, and none of the threads that a forked process would wait for."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The weights of a training that nothing interrupts."""
    return training(tmp_path_factory.mktemp("whole"))[0]


def assert_goes_on(folder: Path, whole: dict[str, torch.Tensor]) -> None:
    resumed, record = training(folder)
    assert record["resumed"] and record["epochs"] == EPOCHS
    assert names(folder) == ["last.ckpt", "lock", "network.safetensors", "training.json"]
    for name, tensor in whole.items():
        assert torch.equal(resumed[name], tensor), name


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB: room for one checkpoint (1.5 MB), not for two."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip(f"mounting a small file system needs root: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def grow(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=32m", str(disk)], check=True)


def test_a_full_disk_is_one_message_and_the_training_goes_on(
    tmp_path: Path, whole: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files.os, "fdopen", os.fdopen)  # put back in the end
    break_writes(3, no_space)
    with pytest.raises(UserError, match=r"cannot write .*last\.ckpt: No space left.*Free some space.*epochs are kept"):
        training(tmp_path / "run")
    assert read_checkpoint(tmp_path / "run" / "last.ckpt")["epoch"] == 1
    assert names(tmp_path / "run") == ["last.ckpt", "lock"]
    monkeypatch.undo()
    assert_goes_on(tmp_path / "run", whole)


def test_a_disk_that_fills_up_is_one_message_and_the_training_goes_on(
    small_disk: Path, whole: dict[str, torch.Tensor]
) -> None:
    folder = small_disk / "run"
    with pytest.raises(UserError, match=r"^cannot write .*: No space left on device\. Free some space"):
        training(folder)
    assert read_checkpoint(folder / "last.ckpt")["epoch"] == 0
    assert names(folder) == ["last.ckpt", "lock"]
    grow(small_disk)
    assert_goes_on(folder, whole)


def test_curves_that_do_not_fit_on_the_disk_are_the_same_message(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes(2 * MEGABYTE))
    with pytest.raises(UserError, match=r"^cannot write .*: No space left on device\. Free some space"):
        training(small_disk / "run", loggers=[CSVLogger(small_disk / "run", name=None, version="curves-1")])


@pytest.mark.parametrize("where", ["beside", "small_disk"])
def test_a_training_killed_while_it_writes_a_checkpoint_goes_on(
    where: str, tmp_path: Path, whole: dict[str, torch.Tensor], request: pytest.FixtureRequest
) -> None:
    disk: Path = tmp_path / "beside" if where == "beside" else request.getfixturevalue(where)
    if where == "small_disk":
        grow(disk)
    folder = disk / "run"
    process = multiprocessing.get_context("fork").Process(target=killed_at_the_third_epoch, args=(folder,))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    (leftover,) = folder.glob(".last.ckpt.*.tmp")
    assert 0 < leftover.stat().st_size < (folder / "last.ckpt").stat().st_size
    assert read_checkpoint(folder / "last.ckpt")["epoch"] == 1
    assert_goes_on(folder, whole)


@pytest.mark.parametrize("content", ["nothing", "words", "half", "other", "list"])
def test_a_damaged_checkpoint_and_a_file_that_is_none_are_the_same_message(content: str, tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"pytorch-lightning_version": "2", "state_dict": {}}, path)
    assert read_checkpoint(path) == {"pytorch-lightning_version": "2", "state_dict": {}}
    if content in ("other", "list"):
        torch.save({"state_dict": {}} if content == "other" else [1], path)
    else:
        path.write_bytes({"nothing": b"", "words": b"words", "half": path.read_bytes()[:-100]}[content])
    with pytest.raises(UserError, match=rf"last\.ckpt is damaged or no checkpoint\. Delete {tmp_path} and run"):
        run(tmp_path, 1)
