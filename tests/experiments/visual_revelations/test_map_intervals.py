"""The experiment with three networks of each kind and two methods, to the page."""

import json
from pathlib import Path

import pytest

from tests.launch.test_run import refusal, run

IDENTITY = "visual_revelations/map_intervals"
SMALL = (
    "sweep=shapes",
    "seed=0",
    "data.source.n_train=160",
    "data.source.n_test=40",
    "data.test_size=10",
    "data.batch_size=16",
    "training.max_epochs=2",
    "trainer.progress=false",
    "networks=3",
    "methods=[grad_cam,fresh_noise]",
    "figure.methods=[grad_cam]",
    "figure.pictures=[test-00000]",  # after so short a training not all networks get one right
    "batch=5",
    "chunk=5",
)


def test_page(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, IDENTITY, *SMALL)
    folder = places / "results/visual_revelations"
    page = (folder / "map_intervals.md").read_text()
    assert "| fresh noise (control) | other training images | " in page
    assert all((folder / f"map_intervals-shapes-conv3{end}.png").is_file() for end in ("", "-maps"))
    (record,) = [json.loads(line) for line in (folder / "map_intervals.runs.jsonl").read_text().splitlines()]
    values, made = record["values"], record["details"]["networks"]
    assert len({each["weights"] for each in made.values()}) == 6
    # Noise drawn anew for every network is in its interval, and agrees with no other.
    assert abs(values["agree/fresh_noise/seeds"]) < 0.2 < values["width/fresh_noise/bootstrap"]
    assert 0.8 < values["covered/fresh_noise/seeds"] < 0.97


def test_two_networks_are_too_few(
    places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "2 networks are too few" in refusal(monkeypatch, capsys, IDENTITY, *SMALL, "networks=2")
