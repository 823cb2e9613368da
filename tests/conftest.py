"""Shrunken versions of the real configurations, and folders that are not the repository's."""

import gc
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from xcnn.launch import compose as composing

# The smallest run of a real experiment: the embedded data, a few pictures, one epoch.
TINY = (
    "data=shapes",
    "data.n_train=64",
    "data.n_test=40",
    "data.batch_size=16",
    "training.max_epochs=1",
    "trainer=cpu",
    "trainer.progress=false",
)


def pytest_collection_finish() -> None:
    """What is imported by now is never garbage; to look through it again and again takes a fifth of a composition."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs, results and data below a temporary folder; W&B offline, as when nobody asks for anything."""
    for name in ("runs", "results", "data"):
        monkeypatch.setenv(f"XCNN_{name.upper()}", str(tmp_path / name))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("XCNN_TRACEBACK", raising=False)
    return tmp_path


Adds = Callable[..., None]


@pytest.fixture
def adds(places: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Adds]:
    """Adds something of one's own, as its user would: `adds("attribution", "strongest", config, code)`.

    The file is `strongest.py` on Python's path, the configuration `conf/attribution/strongest.yaml`.
    """
    conf, names = places / "conf", []
    shutil.copytree(composing.CONF, conf)
    monkeypatch.setattr(composing, "CONF", conf)
    monkeypatch.syspath_prepend(str(places))

    def add(group: str, name: str, config: str, code: str) -> None:
        (conf / group / f"{name}.yaml").write_text(f"# @package _global_\n{config}")
        (places / f"{name}.py").write_text(code)
        names.append(name)

    yield add
    for name in names:
        sys.modules.pop(name, None)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by relative path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }
