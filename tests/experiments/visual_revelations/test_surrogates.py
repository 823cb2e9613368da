"""The experiment on a few drawn images: every surrogate and view, from the network to the page."""

import json
from pathlib import Path

import pytest

from tests.conftest import TINY
from tests.launch.test_run import refusal, run

IDENTITY = "visual_revelations/surrogates"
LEARNT = ("data.n_train=320", "training.max_epochs=15")  # to give more classes than one
SMALL = (
    "sweep=shapes",
    "seed=0",
    *(option for option in TINY if option.split("=")[0] not in {each.split("=")[0] for each in LEARNT}),
    *LEARNT,
    "prototypes.per_class=1",
    "sizes=[2,4]",
    "size=4",
    "shown=2",
    "batch=32",
)


def test_page_of_trees_and_rules_and_what_they_see_is_computed_once(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch, IDENTITY, *SMALL, "surrogate=tree,rules", "view=features,prototypes,pixels")
    page = (places / "results/visual_revelations/surrogates.md").read_text()
    assert "| shapes | tree, features | " in page and "|--- filter " in page and "if distance to " in page
    found = {
        path.parent.name: json.loads(path.read_text())
        for path in (places / "runs/visual_revelations/surrogates").glob("*/result.json")
    }
    assert len(found) == 6
    values = found["shapes-conv3-tree-features-s0"]["values"]
    assert values["fidelity/head"] == 1  # what follows the features is the network's own
    assert values["fidelity/network"] == 1 and values["accuracy/network"] == values["accuracy/head"]
    assert values["fidelity.low"] <= values["fidelity"] <= values["fidelity.high"]
    gain = values["fidelity"] - values["fidelity/majority"]
    assert values["fidelity.less_majority"] == pytest.approx(gain)
    assert values["size"] == 4 and values["fidelity"] >= values["fidelity/0"] - 0.2
    # Rows of three views and the network's decisions, of two parts each.
    assert len(list((places / "runs/features").glob("*/settings.json"))) == 8


def test_a_tree_of_more_leaves_than_images(
    places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refusal(monkeypatch, capsys, IDENTITY, *SMALL, "surrogate=tree", "view=pixels", "size=400")
    assert "320 images for 400 leaves" in message
