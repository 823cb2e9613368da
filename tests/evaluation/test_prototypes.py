"""Predictions by prototypes, row by row; what one cell fitted the next one loads."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from tests.conftest import TINY
from xcnn.data import Shapes
from xcnn.errors import UserError
from xcnn.evaluation.predictions import accuracies, predict, prediction_rows
from xcnn.evaluation.prototypes import embeddings, prototypes_of, training_share
from xcnn.evaluation.subject import Subject
from xcnn.launch import Setup
from xcnn.launch.compose import compose
from xcnn.models import conv3
from xcnn.prototypes import Columns, Encoder, EncoderExplanation, KMEx
from xcnn.report.cells import Cell

SMALL = [*TINY, "recipe=shapes", "training.max_epochs=1", "seed=0", "batch=16"]


def setup(*overrides: str) -> Setup:
    return Setup(compose("self_explanation/table2", [*SMALL, *overrides]), [*SMALL, *overrides])


@pytest.fixture(scope="module")
def subject() -> Subject:
    torch.manual_seed(0)
    data = Shapes(n_train=60, n_test=30)
    data.setup()
    found = Subject(conv3(10).eval(), data, nn.Identity(), "w", {"weights": "w"})
    return replace(found, method=Columns(Encoder(found.network, ("relu3",), found.prepare)))


def test_rows_are_of_all_images_and_values_their_means(subject: Subject, tmp_path: Path) -> None:
    method = EncoderExplanation(subject.method.encoder, per_class=1).fit(  # type: ignore[union-attr]
        subject.data.train.images, subject.data.train.labels
    )
    cell = Cell("paper/name", "cell", tmp_path, {}, {})
    rows = prediction_rows(cell, replace(subject, method=method), 25)  # a chunk has the end of one part and the next
    assert rows["part"].value_counts().to_dict() == {"train": 60, "test": 30}
    test = rows[rows["part"] == "test"]
    assert test["label"].tolist() == subject.data.test.labels.tolist()
    said = method.explain(subject.data.test.images)
    assert test["predicted"].tolist() == said.predicted.tolist()
    assert test["tied"].tolist() == said.tied.tolist()
    with torch.no_grad():
        expected = subject.network(subject.data.test.images / 255).argmax(1)
    assert test["network"].tolist() == expected.tolist()
    values = accuracies(rows)
    assert values["test"] == pytest.approx(100 * float((said.predicted == subject.data.test.labels).double().mean()))
    assert values["agrees/test"] == pytest.approx(100 * float((said.predicted == expected).double().mean()))


def test_accuracies_by_hand() -> None:
    rows = pd.DataFrame(
        {
            "part": ["train", "train", "test", "test"],
            "label": [0, 1, 1, 1],
            "predicted": [0, 0, 1, 1],
            "network": [0, 1, 0, 1],
            "tied": [True, True, False, True],
        }
    )
    assert accuracies(rows) == {
        "train": 50.0, "agrees/train": 50.0, "tied/train": 100.0, "test": 100.0, "agrees/test": 50.0, "tied/test": 50.0,
    }  # fmt: skip


def test_a_share_has_as_much_of_each_class_and_is_the_same_every_time(subject: Subject) -> None:
    labels = subject.data.train.labels
    places = training_share(subject.data, 0.5, 3)
    counts = torch.bincount(labels, minlength=10)
    assert torch.equal(
        torch.bincount(labels[places], minlength=10), (counts.double() * 0.5).round().long().clamp(min=1)
    )
    assert torch.equal(places, training_share(subject.data, 0.5, 3)) and not torch.equal(
        places, training_share(subject.data, 0.5, 4)
    )
    assert torch.equal(training_share(subject.data, None, 0), torch.arange(60))
    assert len(training_share(subject.data, 1e-9, 0)) == int((counts > 0).sum())
    with pytest.raises(UserError, match="fit_share must be in"):
        training_share(subject.data, 0.0, 0)


def test_prototypes_are_fitted_once_and_are_their_network_s(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = setup("prototypes=kmex").prototyped()
    assert isinstance(first.method, KMEx) and first.method.encoder.blocks == ("relu3",)
    monkeypatch.setattr(KMEx, "fit", None)  # would fail
    second = setup("prototypes=kmex").prototyped()
    assert isinstance(second.method, KMEx)
    assert torch.equal(prototypes_of(second)[0], prototypes_of(first)[0])
    assert prototypes_of(second)[1].tolist() == [j for j in range(10) for _ in range(5)]
    assert setup("prototypes=b34").prototyped().method.encoder.blocks == ("relu2", "relu3")  # type: ignore[union-attr]
    fitted = sorted((places / "runs/prototypes").glob("*.safetensors"))
    assert len(fitted) == 2


def test_prototypes_of_ones_own_are_fitted_again_when_their_code_changes(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(places)
    source = "from xcnn.prototypes import KMEx\n\n\nclass Mine(KMEx):\n    pass\n"
    for n, code in enumerate((source, source, source + "# changed\n"), 1):
        (places / "my_own.py").write_text(code)
        setup("prototypes=kmex", "prototypes._target_=my_own.Mine").prototyped()
        assert len(list((places / "runs/prototypes").glob("*.safetensors"))) == (1 if n < 3 else 2)


def test_a_depth_that_the_network_has_not_is_refused(places: Path) -> None:
    for depth in (0, 4, -1):
        with pytest.raises(UserError, match=rf"depth must be in 1\.\.3, .* not {depth}"):
            setup("prototypes=b4", f"encoder.depth={depth}").prototyped()


def test_protopnet_s_prototypes_are_compared_in_its_own_space(places: Path) -> None:
    subject = setup("prototypes=protopnet", "stages.joint=1", "stages.last=1").prototyped()
    prototypes, class_of = prototypes_of(subject)
    assert subject.method is None and prototypes.shape == (50, 128) and class_of.bincount().tolist() == [5] * 10
    images = subject.data.test.images[:3]
    with torch.no_grad():
        latent = subject.network.latent(images / 255)  # type: ignore[operator]
    torch.testing.assert_close(embeddings(subject, images), latent.mean((2, 3)), rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        assert torch.equal(predict(subject, images)["predicted"], subject.network(images / 255).argmax(1))
