"""Figures 6 to 8: the filters of the right sign, drawn with the words' own mask, and their page."""

from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

from experiments.deconvolve.image_explanation import image_summary
from tests.evaluation.test_feature_maps import CLASSES, TRAINING, by_colour, cell, colours, subject_of
from xcnn.data.tensors import scale
from xcnn.evaluation import image_explanation
from xcnn.evaluation.image_explanation import explained_image
from xcnn.figures import signed_filters
from xcnn.language import MeasuredDescriber
from xcnn.models import conv3
from xcnn.report import aggregate
from xcnn.report.page import Page
from xcnn.report.provenance import REPOSITORY


def page(record: dict[str, Any]) -> str:
    """The page of figure 6 for a record of another experiment."""
    rows = aggregate([record | {"settings": {"data": {}}}])
    made = Page(
        "deconvolve/figure6", "make it", image_summary("A figure")(rows, []), rows, [], {"figure6.png": record}, {}
    )
    return made.render(REPOSITORY / "experiments")


def test_an_image_is_explained_drawn_and_summarised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words: list[str] = []

    def drawn(*arguments: Any) -> Figure:
        words.extend(view.text for group in arguments[1:3] for view in group)
        assert arguments[7] == 0.1  # the outline is of the mask that the words measure
        return signed_filters(*arguments)

    monkeypatch.setattr(image_explanation, "signed_filters", drawn)
    torch.manual_seed(0)
    network, data = conv3(3).eval(), colours()
    with torch.no_grad():
        probabilities = network(scale(data.test.images)).softmax(1)
    predicted = int(probabilities[0].argmax())
    record = cell(tmp_path, "toy/figure").run(
        lambda one: explained_image(
            one,
            subject_of(network, data),
            MeasuredDescriber(),
            layer="relu3",
            label="red",
            correct=predicted == 0,
            top=2,
        )
    )
    details, values = record["details"], record["values"]
    assert (details["image"], details["label"], details["predicted"]) == (0, "red", CLASSES[predicted])
    assert values["probability"] == pytest.approx(float(probabilities[0].max()), abs=1e-6)
    assert values["accuracy"] == float((probabilities.argmax(1) == data.test.labels).float().mean())

    with torch.no_grad():  # the last layer's scores in closed form, and its maps
        bias, weight = (network.get_parameter(f"classifier.{name}") for name in ("bias", "weight"))
        scores = ((bias + weight.T).softmax(1) - bias.softmax(0))[:, predicted]
        live = (network[:8](scale(data.test.images)).amax((2, 3)) > 0).T
    here = torch.nonzero(live[:, 0]).flatten()
    order = here[scores[here].argsort(descending=True)].tolist()
    assert [f["filter"] for f in details["positive"]] == order[:2]
    assert [f["filter"] for f in details["negative"]] == order[::-1][:2]
    for sign, group in ((1, details["positive"]), (-1, details["negative"])):
        for f in group:
            assert sign * f["score"] > 0 and f["score"] == pytest.approx(float(scores[f["filter"]]), abs=1e-6)
    assert values["live"] == len(order) and values["dead"] == float((~live).all(1).double().mean())
    explained = [*details["positive"], *details["negative"]]
    assert values["supported"] == values["claims"] == sum(f["claims"] for f in explained) > 0

    assert words == [f["text"] for f in explained]
    assert record["files"].keys() == {"figure.png"}
    assert (cell(tmp_path, "toy/figure").folder / "figure.png").read_bytes().startswith(b"\x89PNG")

    text = page(record)
    first = text.partition("<details>")[0]
    assert f"test image 0 (red), classified as {CLASSES[predicted]} with probability" in first
    for f in explained:
        assert f"| relu3/{f['filter']} | {f['score']:+.4f} | {f['text']} |" in first
    claims = int(values["claims"])
    assert f"{claims} of {claims} claims in the words hold when they are measured again: a consistency check" in text
    assert f"| plain | plain | {TRAINING['weights']} | {TRAINING['fingerprint']} |" in text


def test_only_filters_of_the_fitting_sign_are_shown(tmp_path: Path) -> None:
    """Of the two filters that are live on the red square one speaks for red and one against, though four may be."""
    record = cell(tmp_path, "toy/figure").run(
        lambda one: explained_image(
            one, subject_of(by_colour(), colours()), MeasuredDescriber(), layer="relu", label="red", correct=True
        )
    )
    assert [f["filter"] for f in record["details"]["positive"]] == [0]
    assert [f["filter"] for f in record["details"]["negative"]] == [1]
    assert record["values"]["dead"] == 0.25 and record["values"]["live"] == 2 and record["n"] == 1
