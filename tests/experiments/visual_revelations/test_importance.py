"""The experiment on a few drawn images: every ranking, to the page."""

import json
from pathlib import Path

import pytest

from tests.conftest import TINY
from tests.launch.test_run import refusal, run

IDENTITY = "visual_revelations/importance"
SMALL = (
    *("sweep=shapes", "seed=0", *TINY, "importance.layer=relu3", "importance.images=30", "importance.counts=[1,128]"),
    *("importance.orders=2", "batch=20", "chunk=20"),
)


def test_page_of_all_rankings(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, IDENTITY, *SMALL)
    folder = places / "results/visual_revelations"
    page = (folder / "importance.md").read_text()
    assert "| shapes | relu3 | permutation importance | ablation | " in page
    records = [json.loads(line) for line in (folder / "importance.runs.jsonl").read_text().splitlines()]
    assert len(records) == 4
    # Without all filters only the bias is left, so that all rankings cost the same.
    assert len({record["values"]["accuracy/128"] for record in records}) == 1
    for record in records:
        values = record["values"]
        mean = (values["accuracy/1"] + values["accuracy/128"]) / 2
        assert values["lost"] == pytest.approx(values["accuracy"] - mean)
        assert len(record["details"]["importance"]) == 128


def test_refused(places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    one = (*SMALL, "importance.ranking=ablation")
    assert "200 filters cannot be removed of 128" in refusal(
        monkeypatch, capsys, IDENTITY, *one, "importance.counts=[1,200]"
    )
    assert "counts is empty" in refusal(monkeypatch, capsys, IDENTITY, *one, "importance.counts=[]")
    assert "at least two images, not 1" in refusal(monkeypatch, capsys, IDENTITY, *one, "importance.images=1")
