"""The experiment on a few drawn images: from the network's logits to the page, also after a kill."""

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import TINY
from tests.launch.test_run import refusal, run
from xcnn.report.cells import Cell

SMALL = ("sweep=shapes", "seed=0", *TINY, "batch=10", "chunk=20", "splits=5", "alpha=0.2")


def test_page_and_a_cell_that_was_killed_after_its_first_chunk(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, "visual_revelations/uncertainty", *SMALL)
    page = (places / "results/visual_revelations/uncertainty.md").read_text()
    assert "| shapes | 3-conv network | LAC | 0." in page and "uncertainty-shapes-conv3.png" in page
    (result,) = (places / "runs/visual_revelations/uncertainty").glob("*/result.json")
    first = json.loads(result.read_text())["values"]
    result.unlink()

    class Killed(BaseException): ...

    whole = Cell._chunk

    def killed(self: Cell, images: range, measure: object) -> pd.DataFrame:
        if images.start:
            raise Killed
        return whole(self, images, measure)  # type: ignore[arg-type]

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Cell, "_chunk", killed)
        run(patched, "visual_revelations/uncertainty", *SMALL)
    run(monkeypatch, "visual_revelations/uncertainty", *SMALL)
    assert json.loads(result.read_text())["values"] == first


def test_a_calibration_half_smaller_than_alpha_asks_for(
    places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "calibration images cannot tell of 0.01" in refusal(
        monkeypatch, capsys, "visual_revelations/uncertainty", *SMALL, "alpha=0.01"
    )
