"""The experiment on a few drawn images: from features kept once to the page, and what is refused."""

import json
from pathlib import Path

import pytest

from tests.conftest import TINY, Adds
from tests.launch.test_run import refusal, run
from xcnn.launch.compose import compose, settings

IDENTITY = "visual_revelations/tcav"
SMALL = (
    "sweep=shapes",
    "seed=0",
    *TINY,
    "tcav.vectors=mean_difference",
    "concepts.parts=[wheel,eye]",
    "concepts.colours=[red]",
    "concepts.n_scenes=80",
    "concepts.relative=[[wheel,eye]]",
    "tcav.sets={set_size: 8, counterparts: 3, tested: 4, chance: 30, permutations: 30, held_out: 0.25}",
    "tcav.sets.set_size=8",
)


def test_page_and_features_that_are_kept(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, IDENTITY, *SMALL)
    page = (places / "results/visual_revelations/tcav.md").read_text()
    assert (
        "| shapes | TCAV, mean difference | relu3 |" in page and "tcav-shapes-conv3-mean_difference-relu2.png" in page
    )
    (result,) = (places / "runs/visual_revelations/tcav").glob("*/result.json")
    record = json.loads(result.read_text())
    values, layers = record["values"], record["details"]["layers"]
    assert values["extreme/relu3"] == 1 and values["extreme/relu2"] < 1  # a linear head behind global pooling
    assert record["details"]["concepts"] == ["wheel", "eye", "red"] and len(layers["relu2"]["score"]) == 3
    assert [each["others"] for each in layers["relu2"]["relative"]] == [["eye"], ["wheel"]]
    # Another cell and a measurement anew find the features.
    kept = {path: path.stat().st_mtime_ns for path in (places / "runs/features").glob("*/features.bin")}
    assert len(kept) == 2
    result.unlink()
    run(monkeypatch, IDENTITY, *SMALL)
    again = json.loads(result.read_text())
    found = {name: value for name, value in again["values"].items() if not name.startswith("seconds")}
    assert found == {name: value for name, value in values.items() if not name.startswith("seconds")}
    assert len(list((places / "runs/features").glob("*/features.bin"))) == 2


def test_concepts_of_ones_own(places: Path, adds: Adds, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
from xcnn.data import ConceptSets


def upside_down(data, size):
    images, labels = data.test.images[:size], data.test.labels[:size]
    classes = {data.classes[label]: images[labels == label] for label in labels.unique().tolist()}
    return ConceptSets({"upside down": images.flip(2)}, data.train.images, classes)
"""
    config = "concepts: {_target_: upside_down.upside_down, _partial_: true, size: 16}\n"
    adds("concepts", "upside_down", config, code)
    small = [each for each in SMALL if not each.startswith("concepts.")]
    run(monkeypatch, IDENTITY, *small, "concepts=upside_down")
    (record,) = (places / "results/visual_revelations/tcav.runs.jsonl").read_text().splitlines()
    assert json.loads(record)["details"]["concepts"] == ["upside down"]
    assert "Against the truth" not in (places / "results/visual_revelations/tcav.md").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("tcav.sets.set_size=16", "concept 'red' has 8 images and set_size is 16"),
        ("concepts.colour_share=0.0125", "concept 'red' has 1 image and set_size is 8"),
        ("tcav.sets.chance=1", "1 random sets"),
        ("concepts.class_size=0", "there is no image of class 'house'"),
    ],
)
def test_refused(
    places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], change: str, message: str
) -> None:
    assert message in refusal(monkeypatch, capsys, IDENTITY, *SMALL, change)


def test_fewer_random_images_than_a_set(
    places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [each for each in SMALL if not each.startswith(("concepts.parts", "concepts.relative", "concepts.n_s"))]
    message = refusal(
        monkeypatch, capsys, IDENTITY, *small, "concepts.parts=[]", "concepts.relative=[]", "concepts.n_scenes=14",
        "concepts.colour_share=0.6",
    )  # fmt: skip
    assert "14 random images are too few for the 1 concepts" in message


def test_where_folders_of_concepts_lie_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XCNN_DATA", "/elsewhere")
    found = settings(compose(IDENTITY, ["recipe=imagenet_resnet50", "concepts=textures"]))["concepts"]
    assert found["class"] == "FolderConcepts" and found["folders"]["striped"] == "textures/striped"
    assert "root" not in found
