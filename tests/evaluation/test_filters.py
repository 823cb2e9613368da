"""Filters on an image: the image by rule, the filters by score, every word borne out by the evidence."""

from dataclasses import replace
from math import exp
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

from tests.evaluation.test_feature_maps import CLASSES, by_colour, cell, coloured, colours, subject_of
from xcnn.data.tensors import scale
from xcnn.errors import UserError
from xcnn.evaluation import filters as explain
from xcnn.evaluation.filters import (
    READING,
    FilterExplainer,
    explained_image,
    explained_image_summary,
)
from xcnn.evaluation.selection import ImageChoice, choose_image
from xcnn.figures import signed_filters
from xcnn.filters import auroc, score_filters
from xcnn.language import Claim, Description, FilterEvidence, MeasuredDescriber, verify
from xcnn.models import conv3
from xcnn.report.tables import aggregate

# Which image


@pytest.mark.parametrize(
    ("label", "correct", "skip", "index", "predicted"),
    [
        ("red", True, 0, 2, "red"),
        ("red", True, 2, 7, "red"),
        ("red", False, 0, 0, "green"),
        ("red", False, 1, 4, "blue"),
        ("green", True, 1, 6, "green"),
    ],
)
def test_the_first_image_in_file_order_that_fits(
    label: str, correct: bool, skip: int, index: int, predicted: str
) -> None:
    data, network = colours(), by_colour()
    choice = choose_image([network], data, label, correct, skip)
    assert (choice.index, choice.label, choice.predicted) == (index, label, predicted)
    image = scale(data.test.images[index])
    assert torch.equal(choice.image, image)
    with torch.no_grad():
        torch.testing.assert_close(choice.probabilities, network(image[None]).softmax(1)[0])


def test_all_networks_must_agree_and_the_last_ones_prediction_is_given() -> None:
    always_red = by_colour()
    with torch.no_grad():
        always_red.get_parameter("classifier.bias").copy_(torch.tensor([20.0, 0, 0]))
    assert choose_image([always_red], colours(), "red", correct=True).index == 0
    both = choose_image([by_colour(), always_red], colours(), "red", correct=True)
    assert both.index == 2 and both.probabilities[0] > 0.999
    with pytest.raises(UserError, match="0 test images of 'red' are wrongly classified by every one of 2 networks"):
        choose_image([by_colour(), always_red], colours(), "red", correct=False)


def test_an_unknown_class_and_too_few_images_are_refused() -> None:
    with pytest.raises(UserError, match=r"colours has no class 'mauve'; there are: red, green, blue\."):
        choose_image([by_colour()], colours(), "mauve", correct=True)
    with pytest.raises(UserError, match=r"2 test images of 'red' are wrongly classified .* number 3 was asked for"):
        choose_image([by_colour()], colours(), "red", correct=False, skip=2)


# Which filters


def score(row: tuple[float, float, float], column: int) -> float:
    """softmax(W_k)_c - 1/3, by hand: there is no bias."""
    return exp(row[column]) / sum(map(exp, row)) - 1 / 3


def test_filters_are_ranked_by_score_and_the_dead_on_the_image_left_out() -> None:
    explainer = FilterExplainer(subject_of(by_colour(), colours()), "relu", MeasuredDescriber())
    red, blue = (scale(coloured((colour,)))[0] for colour in (0, 2))
    by_hand = [score((4, 0, 0), 0), score((0, 4, 0), 0), score((0, 0, 3), 0), score((2, 0, 0), 0)]
    assert explainer.scores[0].tolist() == pytest.approx(by_hand, abs=1e-6)
    assert explainer.ranked(red, "red", live_only=False) == [0, 3, 2, 1]
    assert explainer.ranked(red, "red") == [0, 1]  # nothing is blue there, and the fourth filter never fires
    assert explainer.ranked(blue, "red") == [0, 2, 1]
    assert explainer.ranked(blue, "blue") == [2, 0, 1]  # equal scores: the lower index first
    assert explainer.activity.dead.tolist() == [False, False, False, True]


def test_ranked_is_the_order_of_the_scores_of_a_whole_network() -> None:
    torch.manual_seed(1)
    network, data = conv3(3).eval(), colours()
    explainer = FilterExplainer(subject_of(network, data), "relu2", MeasuredDescriber())
    image = scale(data.test.images[2])
    with torch.no_grad():
        maps = network[:5](image[None])[0]
    live = (maps > 0).flatten(1).any(1)
    assert 0 < live.sum() < 64
    scores = score_filters(network, "relu2", data.input_size)
    for target, name in enumerate(CLASSES):
        order = scores[target].argsort(descending=True, stable=True)
        assert explainer.ranked(image, name) == order[live[order]].tolist()
        assert explainer.ranked(image, name, live_only=False) == order.tolist()
    torch.testing.assert_close(explainer.maps(image), maps)


# In words


def evidence_on_red(choice: ImageChoice, index: int) -> FilterEvidence:
    """What is known of a filter of the hand-set network, put together without `FilterExplainer`."""
    data, network = colours(), by_colour()
    with torch.no_grad():
        maps = network[:2](scale(data.test.images))
    return FilterEvidence(
        layer="relu",
        filter=index,
        image=scale(data.test.images[2]),
        activation=maps[2, index],
        target="red",
        predicted=choice.predicted,
        score=float(score_filters(network, "relu", data.input_size)[0, index]),
        classes=CLASSES,
        auroc=auroc(maps.mean((2, 3)), data.test.labels, 3)[:, index],
    )


@pytest.mark.parametrize(("index", "area"), [(0, 16 / 64), (1, 48 / 64)])
def test_an_explanation_is_of_the_filter_on_the_image_and_holds_in_every_claim(index: int, area: float) -> None:
    data = colours()
    choice = choose_image([by_colour()], data, "red", correct=True)
    explained = FilterExplainer(subject_of(by_colour(), data), "relu", MeasuredDescriber()).explain(
        choice, "red", index
    )
    evidence = evidence_on_red(choice, index)
    assert explained.description.evidence_hash == evidence.evidence_hash
    assert explained.view.name == f"relu/{index}" and explained.view.text == explained.description.text
    assert explained.view.score == evidence.score
    assert torch.equal(torch.as_tensor(explained.view.activation), evidence.activation)
    claims = {claim.kind: claim.value for claim in explained.description.claims}
    assert claims["area"] == area and claims["score"] == {"red": pytest.approx(evidence.score, abs=1e-6)}
    assert all(verdict.outcome == "supported" for verdict in verify(explained.description, evidence))
    assert explained.as_record() == {
        "filter": index,
        "score": evidence.score,
        "text": explained.description.text,
        "claims": len(claims),
        "supported": len(claims),
        "provider": "measured",
        "evidence": evidence.evidence_hash,
    }


def test_a_claim_that_does_not_hold_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    describe = MeasuredDescriber.describe

    def exaggerate(self: MeasuredDescriber, evidence: FilterEvidence) -> Description:
        honest = describe(self, evidence)
        return replace(honest, claims=(*honest.claims, Claim("area", 0.9), Claim("beauty", True)))

    monkeypatch.setattr(MeasuredDescriber, "describe", exaggerate)
    data = colours()
    choice = choose_image([by_colour()], data, "red", correct=True)
    record = (
        FilterExplainer(subject_of(by_colour(), data), "relu", MeasuredDescriber())
        .explain(choice, "red", 0)
        .as_record()
    )
    assert record["claims"] - record["supported"] == 2


def test_a_filter_that_is_dead_on_the_image_is_said_to_be() -> None:
    data = colours()
    choice = choose_image([by_colour()], data, "red", correct=True)
    explained = FilterExplainer(subject_of(by_colour(), data), "relu", MeasuredDescriber()).explain(choice, "red", 3)
    assert "dead on this image" in explained.description.text
    assert explained.supported == len(explained.description.claims) == 1


# Figures 6 to 8


def test_an_image_is_explained_drawn_and_summarised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words: list[str] = []

    def drawn(*arguments: Any) -> Figure:
        words.extend(view.text for group in arguments[1:3] for view in group)
        assert arguments[7] == 0.1  # the outline is of the mask that the words measure
        return signed_filters(*arguments)

    monkeypatch.setattr(explain, "signed_filters", drawn)
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
            told=1,
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

    rows = aggregate([record])
    summary = explained_image_summary("A figure")(rows, [])
    assert summary.title == "A figure" and summary.captions == {"figure.png": "A figure."}
    assert summary.text.startswith(f"{READING}\n\nTest image 0 (red), classified as")
    for f in explained:
        assert f"| relu3/{f['filter']} | {f['score']:+.4f} | {f['text']} |" in summary.text
    assert all(rows[0].show(column.metric) != "-" for column in summary.columns)


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
