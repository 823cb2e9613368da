"""The experiment on a few drawn images: every surrogate and view, from the network to the page."""

import json
from pathlib import Path

import pytest

from tests.conftest import TINY, Adds
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

NEAREST = '''
import numpy as np

from xcnn.surrogates import Reason, Reasoning, Surrogate


class NearestImages(Surrogate):
    """The class of the most similar of a few images."""

    unit = "images"

    def __init__(self, view=None, images=8):
        super().__init__(view)
        self.images = images

    @property
    def size(self):
        return len(self.rows)

    def text(self):
        return f"the nearest of {self.size} images"

    def _fit(self, rows, decided):
        self.rows, self.decided = rows[: self.images], decided[: self.images]

    def _predict(self, rows):
        return self.decided[np.linalg.norm(rows[:, None] - self.rows, axis=2).argmin(1)]

    def _reasons(self, row):
        return Reasoning(int(self._predict(row[None])[0]), [Reason(self.names[0], float(row[0]))])
'''
CONFIG = """
kind: nearest_images
surrogate: {_target_: nearest_images.NearestImages, _partial_: true}
grows: images
sizes: [2, 4]
size: 4
shown: 2
"""


def test_page_with_a_surrogate_of_ones_own_and_what_they_see_is_computed_once(
    places: Path, adds: Adds, monkeypatch: pytest.MonkeyPatch
) -> None:
    adds("surrogate", "nearest_images", CONFIG, NEAREST)
    run(monkeypatch, IDENTITY, *SMALL, "surrogate=tree,rules,nearest_images", "view=features,prototypes,pixels")
    page = (places / "results/visual_revelations/surrogates.md").read_text()
    assert "| shapes | tree, features | " in page and "|--- filter " in page and "if distance to " in page
    found = {
        path.parent.name: json.loads(path.read_text())
        for path in (places / "runs/visual_revelations/surrogates").glob("*/result.json")
    }
    assert len(found) == 9
    assert "| shapes | nearest_images-features | " in page and " | 4 images | " in page
    assert (places / "results/visual_revelations/surrogates-nearest_images.png").exists()
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
    small = "sweep=shapes", "seed=0", "batch=32", "sizes=[400]", *TINY
    message = refusal(monkeypatch, capsys, IDENTITY, *small, "surrogate=tree", "view=pixels")
    assert "64 images for 400 leaves" in message
