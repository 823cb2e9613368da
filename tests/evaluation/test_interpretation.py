"""The interpretation of an image: its numbers are those of the method's own map."""

import pytest
import torch
from torch import nn

from xcnn.data import Shapes
from xcnn.evaluation.interpretation import interpret
from xcnn.evaluation.subject import Subject
from xcnn.models import conv3
from xcnn.prototypes import Encoder, EncoderExplanation


def test_numbers_are_of_the_method_s_own_map() -> None:
    torch.manual_seed(0)
    data = Shapes(n_train=60, n_test=10)
    data.setup()
    subject = Subject(conv3(10).eval(), data, nn.Identity(), "w")
    encoder = Encoder(subject.network, ("relu3",), subject.prepare)
    method = EncoderExplanation(encoder, per_class=2).fit(data.train.images, data.train.labels)
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
