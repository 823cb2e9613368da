"""The experiment with two methods and a page of the explorer, to the page."""

import json
from pathlib import Path

import pytest

from tests.conftest import TINY
from tests.launch.test_run import run

IDENTITY = "visual_revelations/real_time"
SMALL = (
    "sweep=shapes",
    "seed=0",
    *(option for option in TINY if not option.startswith("data=")),
    "data.test_size=20",
    "methods=[grad_cam,occlusion]",
    "slow=[occlusion]",
    "rounds=5",
    "rounds_of_slow=2",
)


def test_page(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, IDENTITY, *SMALL)
    folder = places / "results/visual_revelations"
    page = (folder / "real_time.md").read_text()
    assert "| forward pass | " in page and "| a page of the explorer | " in page
    assert (folder / "real_time-shapes-conv3.png").is_file()
    (record,) = [json.loads(line) for line in (folder / "real_time.runs.jsonl").read_text().splitlines()]
    values = record["values"]
    assert values["ratio_p50/forward"] == 1 and values["p95/grad_cam"] >= values["p50/grad_cam"]
    # 49 windows are 49 passes, which together take less than as many passes of one image.
    assert values["ratio_p50/page"] > values["ratio_p50/occlusion"] > values["ratio_p50/grad_cam"] > 1
    assert record["details"]["rounds"] == {"forward": 5, "grad_cam": 5, "occlusion": 2, "page": 5}
