"""The experiment on a few drawn images: a tree on labels and one distilled, drawn, to the page."""

import json
from pathlib import Path

import pytest

from tests.conftest import TINY
from tests.launch.test_run import run

SMALL = ("sweep=shapes", "seed=0", *TINY, "soft_tree.depth=2", "soft_tree.max_epochs=2")


def test_both_trees_and_their_drawings(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, "visual_revelations/soft_tree", *SMALL)
    folder = places / "results/visual_revelations"
    page = (folder / "soft_tree.md").read_text()
    assert "distilled, is right more often than trained on labels" in page
    for labels in ("hard", "soft"):
        assert all((folder / f"soft_tree-shapes-{labels}-s0-{what}.png").is_file() for what in ("tree", "path"))
    records = [json.loads(line) for line in (folder / "soft_tree.runs.jsonl").read_text().splitlines()]
    hard, soft = sorted(records, key=lambda record: record["method"])
    assert hard["values"]["accuracy/network"] == soft["values"]["accuracy/network"]
    assert hard["weights"] != soft["weights"]
    # One network for both, and a tree each.
    assert len(list((places / "runs/trainings").glob("*/training.json"))) == 3
