"""The experiment on a few drawn images: networks with and without the mark, methods and surrogates, to the page."""

import json
from pathlib import Path

import pytest

from tests.launch.test_run import refusal, run

IDENTITY = "visual_revelations/shortcut"
SMALL = (
    "sweep=shapes",
    "seed=0",
    "data.source.n_train=160",
    "data.source.n_test=60",
    "data.batch_size=16",
    "training.max_epochs=2",
    "trainer.progress=false",
    "methods=[grad_cam,gradient,edges]",
    "surrogates=[tree]",
    "views=[pixels]",
    "probabilities=[0.0,1.0]",
    "explained={marked:2,others:2}",
    "size=3",
    "batch=2",
    "chunk=2",
    "tcav.sets={set_size:8,counterparts:2,tested:2,chance:20,permutations:2,held_out:0.25}",
)


def test_page_and_what_is_blind_to_the_network(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, IDENTITY, *SMALL)
    folder = places / "results/visual_revelations"
    page = (folder / "shortcut.md").read_text()
    assert "| edges (control) | " in page and "| tree, pixels | 100 % | " in page
    assert all((folder / f"shortcut-shapes_marked-conv3{end}.png").is_file() for end in ("", "-maps"))
    (record,) = [json.loads(line) for line in (folder / "shortcut.runs.jsonl").read_text().splitlines()]
    values = record["values"]
    # Edges are those of the image, whatever the network; the mark adds some.
    assert values["share/edges/0.0"] == values["share/edges/1.0"] > 16 / 1024
    assert values["apart/edges/1.0"] == 0.5 and values["auroc/edges/1.0"] == values["auroc/edges/0.0"]
    assert values["telling/tree-pixels/1.0"] == 3  # the mark is one of 8 x 8 places, in three channels
    assert 0 <= values["concept/score/1.0"] <= 1 and 0 < values["concept/p/1.0"] <= 1
    assert "**What concept activation shows of it**" in page
    networks = record["details"]["networks"]
    assert networks["0.0"]["weights"] != networks["1.0"]["weights"]


def test_more_images_than_there_are_and_data_without_a_mark(
    places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refusal(monkeypatch, capsys, IDENTITY, *SMALL, "explained={marked:7,others:2}")
    assert "7 images of truck and 2 others" in message and "6 and 54 test images: ask for fewer" in message
