"""Filters on an image: the image by rule, the filters by score, every word borne out by the evidence."""

from dataclasses import replace
from math import exp

import pytest
import torch

from tests.evaluation.test_feature_maps import CLASSES, by_colour, coloured, colours, subject_of
from xcnn.data.tensors import scale
from xcnn.errors import UserError
from xcnn.evaluation.filters import FilterExplainer
from xcnn.evaluation.selection import ImageChoice, choose_image
from xcnn.filters import auroc, score_filters
from xcnn.language import Claim, Description, FilterEvidence, MeasuredDescriber, verify
from xcnn.models import conv3

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


def test_of_any_class_the_first_that_fits() -> None:
    found = [choose_image([by_colour()], colours(), None, correct=False, skip=skip) for skip in range(2)]
    assert [(each.index, each.label, each.predicted) for each in found] == [(0, "red", "green"), (4, "red", "blue")]
    assert choose_image([by_colour()], colours(), None, correct=True, skip=3).index > found[0].index


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
