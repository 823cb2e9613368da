"""Theorem 1 on a small network, and what several columns for each class become on its embeddings."""

from pathlib import Path

import pytest
import torch
from torch import nn

from xcnn.data import Shapes
from xcnn.evaluation.columns import own_columns, several_columns
from xcnn.evaluation.subject import Subject
from xcnn.models import conv3
from xcnn.report.cells import Cell


@pytest.fixture(scope="module")
def subject() -> Subject:
    torch.manual_seed(0)
    data = Shapes(n_train=60, n_test=30)
    data.setup()
    network = conv3(10).eval()
    nn.init.normal_(list(network.parameters())[-1])  # a bias that decides
    return Subject(network, data, nn.Identity(), "w", batch=10)


def test_logits_are_the_average_over_locations(subject: Subject, tmp_path: Path) -> None:
    found = own_columns(Cell("paper/name", "cell", tmp_path, {}, {}), subject, "relu3", 20)
    images, labels = subject.data.test.images / 255, subject.data.test.labels
    with torch.no_grad():
        logits = subject.network(images)
        bias = list(subject.network.parameters())[-1]
    values = found.values
    assert found.n == 30 and values["error/float64"] < 1e-13 < values["error/float32"] < 1e-4
    assert values["largest"] == pytest.approx(float(logits.abs().max()), rel=1e-5)
    assert values["top1"] == pytest.approx(100 * float((logits.argmax(1) == labels).double().mean()))
    same = ((logits - bias).argmax(1) == logits.argmax(1)).double().mean()
    assert values["without_bias"] == pytest.approx(100 * float(same)) and same < 1
    assert 0 <= values["locations"] <= 100


def test_several_columns_start_alike_and_the_average_keeps_their_differences(subject: Subject) -> None:
    found = {m: several_columns(subject, "relu3", m, 3, 20, 0.01, 0).values for m in ("max", "average", "k_means")}  # type: ignore[arg-type]
    assert found["max"]["dominance/start"] == found["average"]["dominance/start"]
    # All columns of a class get the same gradient under the average, so which of them is the nearest never changes.
    assert found["average"]["dominance"] == found["average"]["dominance/start"]
    assert found["average"]["first_direction"] > found["average"]["first_direction/start"]
    assert set(found["k_means"]) == {"dominance", "first_direction", "train"}
    assert all(100 / 3 <= each["dominance"] <= 100 for each in found.values())
    again = several_columns(subject, "relu3", "max", 3, 20, 0.01, 0).values
    assert again == found["max"] and several_columns(subject, "relu3", "max", 3, 20, 0.01, 1).values != again
