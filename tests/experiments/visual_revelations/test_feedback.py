"""The experiment on a few drawn images: before, after and a control, and masks that a person gives."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.launch.test_run import refusal, run

IDENTITY = "visual_revelations/feedback"
SMALL = (
    "seed=0",
    "data.source.n_train=80",
    "data.source.n_test=40",
    "data.batch_size=16",
    "training.max_epochs=1",
    "trainer.progress=false",
    "methods=[gradient]",
)


def test_before_after_and_a_control(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, IDENTITY, "sweep=shapes", *SMALL)
    run(monkeypatch, IDENTITY, "sweep=clean", *SMALL)
    folder = places / "results/visual_revelations"
    page = (folder / "feedback.md").read_text()
    assert "| feedback on the mark | " in page and "| no mark in training | " in page
    assert "feedback on the mark against feedback elsewhere: lower share of others" in page
    records = [json.loads(line) for line in (folder / "feedback.runs.jsonl").read_text().splitlines()]
    found = {record["method"]: record for record in records}
    assert set(found) == {"plain", "right_reasons", "right_reasons_elsewhere", "clean"}
    assert len({record["weights"] for record in records}) == 4
    assert found["plain"]["details"]["marked"] == 8 and found["clean"]["details"]["marked"] == 0


def test_a_persons_masks_count_by_their_content_and_one_of_another_size_is_refused(
    places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = places / "masks"
    masks.mkdir()
    own = ("sweep=shapes", "penalty=right_reasons", f"penalty.masks={masks}", *SMALL)
    Image.fromarray(np.full((32, 32), 255, np.uint8)).save(masks / "train-00003.png")
    run(monkeypatch, IDENTITY, *own)
    (record,) = (places / "runs/visual_revelations/feedback").glob("*/result.json")
    weights = json.loads(record.read_text())["weights"]
    Image.fromarray(np.full((32, 32), 255, np.uint8)).save(masks / "train-00013.png")
    assert "finished, with other settings" in refusal(monkeypatch, capsys, IDENTITY, *own)
    record.unlink()
    run(monkeypatch, IDENTITY, *own)
    assert json.loads(record.read_text())["weights"] != weights
    Image.fromarray(np.full((32, 31), 255, np.uint8)).save(masks / "train-00023.png")
    record.unlink()
    assert "train-00023.png is 31 x 32 px and its image 32 x 32" in refusal(monkeypatch, capsys, IDENTITY, *own)
