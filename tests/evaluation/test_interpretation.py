"""The interpretation of an image: its numbers are those of the method's own map."""

import pytest
import torch
from torch import nn

from xcnn.data import Shapes
from xcnn.errors import UserError
from xcnn.evaluation.interpretation import candidates, first_right, interpret
from xcnn.evaluation.subject import Subject
from xcnn.models import conv3
from xcnn.prototypes import Encoder, EncoderExplanation


@pytest.fixture(scope="module")
def subject() -> Subject:
    torch.manual_seed(0)
    data = Shapes(n_train=60, n_test=30)
    data.setup()
    return Subject(conv3(10).eval(), data, nn.Identity(), "w")


@pytest.fixture(scope="module")
def method(subject: Subject) -> EncoderExplanation:
    encoder = Encoder(subject.network, ("relu3",), subject.prepare)
    return EncoderExplanation(encoder, per_class=2).fit(subject.data.train.images, subject.data.train.labels)


def test_images_to_choose_from(subject: Subject) -> None:
    data = subject.data
    assert candidates(data, data.pictures.ids[4], None) == [4] and candidates(data, None, None) == range(30)
    name = data.classes[int(data.test.labels[5])]
    assert candidates(data, None, name) == [i for i in range(30) if data.test.labels[i] == data.test.labels[5]]
    with pytest.raises(UserError, match="no test image 'none'"):
        candidates(data, "none", None)
    with pytest.raises(UserError, match="no class 'none'"):
        candidates(data, None, "none")


def test_the_first_that_network_and_methods_get_right(subject: Subject, method: EncoderExplanation) -> None:
    said = method.explain(subject.data.test.images)
    labels = subject.data.test.labels
    right = ((said.predicted == labels) & (said.logits.argmax(1) == labels)).nonzero()[:, 0].tolist()
    assert right and first_right(range(30), subject, [method]) == right[0]
    with pytest.raises(UserError, match="name one by its id"):
        first_right([place for place in range(30) if place not in right], subject, [method])


def test_numbers_are_of_the_method_s_own_map(subject: Subject, method: EncoderExplanation) -> None:
    data = subject.data
    found = interpret(subject, method, "b4", 3)
    said = method.explain(data.test.images[3:4], attribute=True)
    present, counts = said.segments.unique(return_counts=True)
    assert found.panel.name == "B4" and torch.equal(torch.as_tensor(found.panel.explanation), said.segments[0])
    assert found.values["segments"] == len(present) == len(found.facts["prototypes"])
    shares = [part["share"] for part in found.facts["prototypes"]]
    assert shares == sorted(shares, reverse=True) and sum(shares) == pytest.approx(1, abs=1e-2)
    assert shares[0] == pytest.approx(float(counts.max()) / said.segments.numel(), abs=1e-4)
    label = int(data.test.labels[3])
    own = sum(part["share"] for part in found.facts["prototypes"] if part["class"] == data.classes[label])
    assert found.values["own"] == pytest.approx(own, abs=1e-2)
    assert found.facts["shape"] == list(said.segments.shape[1:])
    assert found.facts["predicted"] == data.classes[int(said.predicted)]
    weighted = sum(part["share"] * part["attribution"] for part in found.facts["prototypes"])
    assert weighted == pytest.approx(float(said.attribution.mean()), rel=1e-2)  # type: ignore[union-attr]
