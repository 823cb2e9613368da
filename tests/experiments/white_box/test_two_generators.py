"""Two generators from the command line, on few drawn images: cells, trainings that are kept, and the page."""

import json
from pathlib import Path

import pytest

from tests.conftest import TINY
from tests.launch.test_run import run

SMALL = [
    *(each for each in TINY if each != "data=shapes"),
    "sweep=shapes",
    "generators.max_epochs=1",
    "generators.network.widths=[4,8]",
    "steps=2",
    "figure.rules=[{n: 1}]",
]


def test_cells_and_page(places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    run(monkeypatch, "white_box/two_generators", *SMALL)
    folder = places / "results" / "white_box"
    records = [json.loads(line) for line in (folder / "two_generators.runs.jsonl").read_text().splitlines()]
    assert [record["method"] for record in records] == ["two_generators", "two_generators_separate"]
    for record in records:
        values = record["values"]
        assert record["n"] == 40 and record["details"]["generators"]["epochs"] == 1
        assert all(0 <= values[name] <= 1 for name in ("accuracy", "kept", "turned", "chance"))
        for kind in ("pair", "one_generator", "gradient"):
            assert all(0 <= values[f"{name}/{kind}"] <= 1 for name in ("energy", "iou", "deletion", "fine_detail"))
        apart = values["energy/pair"] - values["energy/one_generator"]
        assert values["energy.less_one_generator/pair"] == pytest.approx(apart, abs=1e-6)
        assert (folder / next(iter(record["files"]))).is_file()
    assert len({record["details"]["generators"]["fingerprint"] for record in records}) == 2
    assert len({record["weights"] for record in records}) == 1  # of one classifier
    page = (folder / "two_generators.md").read_text()
    assert "keep the class of" in page and "separate bodies" in page
    trainings = sorted((places / "runs" / "trainings").glob("*/training.json"))
    assert len(trainings) == 3
    before = [path.stat().st_mtime_ns for path in trainings]
    capsys.readouterr()
    run(monkeypatch, "white_box/two_generators", *SMALL)
    assert capsys.readouterr().out.count(": finished, in") == 2
    assert [path.stat().st_mtime_ns for path in trainings] == before
