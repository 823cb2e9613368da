"""Shrunken versions of the real configurations, and folders that are not the repository's."""

from pathlib import Path

import pytest

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


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs, results and data below a temporary folder; W&B offline, as when nobody asks for anything."""
    for name in ("runs", "results", "data"):
        monkeypatch.setenv(f"XCNN_{name.upper()}", str(tmp_path / name))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("XCNN_TRACEBACK", raising=False)
    return tmp_path


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by relative path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }
