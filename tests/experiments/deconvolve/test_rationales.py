"""The experiment on a few drawn images: three trainings, measured against each other, to the page."""

import json
from pathlib import Path

import pytest

from tests.conftest import TINY
from tests.launch.test_run import run

SMALL = (
    "seed=0",
    *TINY,
    "data.n_test=60",
    "rationales.max_epochs=1",
    "rationales.network.width=16",
    "retrieval.pool=8",
)


def test_rationales_against_their_controls(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, "deconvolve/rationales", *SMALL)
    folder = places / "results/deconvolve"
    page = (folder / "rationales.md").read_text()
    assert "finds the true one of 8 rationales first" in page and "which part has which colour" in page
    records = [json.loads(line) for line in (folder / "rationales.runs.jsonl").read_text().splitlines()]
    by_method = {record["method"]: record for record in records}
    own = by_method["rationales"]
    for control in ("class_names", "shuffled_rationales"):
        one = by_method[control]
        assert own["details"]["networks"][control]["weights"] == one["weights"] != own["weights"]
        apart = own["values"]["texts_at_5/unseen"] - one["values"]["texts_at_5/unseen"]
        assert own["values"][f"texts_at_5.over_{control}/unseen"] == pytest.approx(apart)
    assert len(list((places / "runs/trainings").glob("*/training.json"))) == 3
