"""The experiment on a few drawn images: attacks, scores and sets, to the page."""

import json
from pathlib import Path

import pytest

from tests.conftest import TINY
from tests.launch.test_run import refusal, run

IDENTITY = "visual_revelations/robustness"
SMALL = (
    "sweep=shapes",
    "seed=0",
    *(option for option in TINY if not option.startswith("data=")),
    "training.max_epochs=12",
    "data.test_size=40",
    "methods=[grad_cam,gradient]",
    "batch=10",
    "chunk=20",
    "alpha=0.2",
)


def test_page(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, IDENTITY, *SMALL)
    folder = places / "results/visual_revelations"
    page = (folder / "robustness.md").read_text()
    assert "| map's change, Grad-CAM | " in page and "| DeepFool, FGSM's norm | " in page
    assert "size of the set, LAC tells PGD better than low confidence (AUROC): shapes" in page
    assert (folder / "robustness-shapes-conv3.png").is_file()
    (record,) = [json.loads(line) for line in (folder / "robustness.runs.jsonl").read_text().splitlines()]
    values = record["values"]
    assert values["turned/deepfool"] > values["turned/noise_deepfool"] and values["turned/clean"] == 0


def test_a_calibration_half_smaller_than_alpha_asks_for(
    places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "calibration images cannot tell of 0.01" in refusal(
        monkeypatch, capsys, IDENTITY, *SMALL, "alpha=0.01", *TINY[-3:]
    )
