"""The experiment on a few drawn images: probes, fields and pictures, to the page."""

import json
from pathlib import Path

import pytest

from tests.conftest import TINY
from tests.launch.test_run import refusal, run

IDENTITY = "visual_revelations/layers"
SMALL = ("sweep=shapes", "seed=0", *TINY, "seen.filters=2", "seen.patches=2", "seen.ascent.steps=6", "batch=20")


def test_page_and_pictures(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, IDENTITY, *SMALL)
    folder = places / "results/visual_revelations"
    page = (folder / "layers.md").read_text()
    assert "| shapes | 3-conv network | relu3 | 22 x 22 | 0." in page
    assert (folder / "layers-shapes-conv3-filters.png").is_file() and (folder / "layers-probes.png").is_file()
    (record,) = map(json.loads, (folder / "layers.runs.jsonl").read_text().splitlines())
    values = record["values"]
    assert [values[f"field/relu{i}"] for i in (1, 2, 3)] == [3, 12, 22]
    assert all(0 < values[f"{name}/relu1"] <= 1 for name in ("probe", "probe_untrained", "live"))
    assert [len(found) for found in record["details"]["filters"].values()] == [2, 2, 2]


def test_refused(places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no layer 'relu9'" in refusal(monkeypatch, capsys, IDENTITY, *SMALL, "probed=[relu9]")
    assert "a probe needs images, grid and c above 0" in refusal(monkeypatch, capsys, IDENTITY, *SMALL, "probe.grid=0")
