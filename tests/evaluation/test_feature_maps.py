"""The cell of a network's feature maps: measured once, chunk by chunk, with the provenance of data and training."""

from collections import OrderedDict
from math import isfinite
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from xcnn.data.tensors import Labelled, TensorDataModule, scale
from xcnn.evaluation import feature_maps
from xcnn.evaluation.feature_maps import measure_feature_maps, most_live
from xcnn.evaluation.predictions import accuracy
from xcnn.evaluation.subject import Subject, networks
from xcnn.metrics.feature_maps import feature_map_rows, feature_map_values
from xcnn.models import conv3
from xcnn.report.cells import Cell

CLASSES = ("red", "green", "blue")
LABELS = (0, 1, 0, 2, 0, 0, 1, 0)
SHOWN = (1, 1, 0, 2, 2, 0, 1, 0)  # of the first class, images 0 and 4 show another colour
TRAINING: dict[str, Any] = {
    "weights": "0123456789abcdef",
    "fingerprint": "f" * 16,
    "epochs": 0,
    "wall_s": 0.0,
    "device": "cpu",
    "precision": "32-true",
    "provenance": {"git_sha": "0" * 40, "dirty": False},
}


def coloured(shown: tuple[int, ...]) -> Tensor:
    """A square in the top left quarter, of one pure colour, on dark yellow: no blue but in a blue square."""
    images = torch.zeros(len(shown), 3, 8, 8, dtype=torch.uint8)
    images[:, :2] = 20
    images[:, :, :4, :4] = 0
    images[torch.arange(len(shown)), torch.tensor(shown), :4, :4] = 255
    return images


class Colours(TensorDataModule):
    """Squares to be told apart by colour; the test images are the eight above and `right` more that are blue."""

    name = "colours"
    right = 0

    def load(self) -> tuple[Labelled, Labelled, tuple[str, ...]]:
        train = Labelled(coloured((0, 1, 2)), torch.arange(3))
        more = (2,) * self.right
        return train, Labelled(coloured((*SHOWN, *more)), torch.tensor((*LABELS, *more))), CLASSES


def colours(right: int = 0) -> Colours:
    data = Colours()
    data.right = right
    data.setup()
    return data


def by_colour() -> nn.Sequential:
    """Predicts the colour of the square. Three filters see one colour each, the fourth never fires."""
    network = nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(3, 4, 1),
            relu=nn.ReLU(),
            gap=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            classifier=nn.Linear(4, 3),
        )
    )
    seen = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [-1, -1, -1]])
    weights = {
        "conv.weight": seen[:, :, None, None],
        "conv.bias": torch.zeros(4),
        "classifier.weight": torch.tensor([[4.0, 0, 0, 2], [0, 4, 0, 0], [0, 0, 3, 0]]),
        "classifier.bias": torch.zeros(3),
    }
    network.load_state_dict(weights)
    return network.eval()


def subject_of(network: nn.Module, data: TensorDataModule) -> Subject:
    return Subject(network, data, nn.Identity(), TRAINING["weights"], TRAINING)


def cell(folder: Path, experiment: str = "toy/maps") -> Cell:
    labels = {"dataset": "colours", "model": "conv3", "method": "plain", "seed": 0}
    return Cell(experiment, "colours-conv3-plain-s0", folder / "colours-conv3-plain-s0", {"seed": 0}, labels)


def test_accuracy_is_the_share_of_right_images_over_unequal_batches() -> None:
    assert accuracy(subject_of(by_colour(), colours())) == 6 / 8
    data = colours(right=592)
    assert [len(labels) for _, labels in data.test_dataloader()] == [512, 88]
    assert accuracy(subject_of(by_colour(), data)) == 598 / 600


def test_what_is_measured_carries_the_data_and_the_training() -> None:
    data = colours()
    found = subject_of(by_colour(), data).measured({"accuracy": 0.5}, details={"a": 1}, files=["a.png"])
    assert found.n == 8 and found.data == {"name": "colours", "manifest": data.manifest} and len(data.manifest) == 16
    assert found.weights == TRAINING["weights"] and found.training == TRAINING
    assert (found.values, found.details, found.files) == ({"accuracy": 0.5}, {"a": 1}, ["a.png"])
    assert subject_of(by_colour(), data).measured({}, n=1).n == 1


def test_every_network_is_named_by_its_weights_and_its_training() -> None:
    subject = subject_of(by_colour(), colours())
    random = Subject(by_colour(), colours(), nn.Identity(), None)
    assert networks(after=subject, before=random) == {
        "after": {"weights": TRAINING["weights"], "training": TRAINING["fingerprint"]},
        "before": {"weights": None, "training": None},
    }


def test_further_settings_of_the_succinctness_are_handed_on(tmp_path: Path) -> None:
    readings = {"thresholds": [0.1], "count_shares": [0.5, 0.9]}
    found = measure_feature_maps(cell(tmp_path), subject_of(by_colour(), colours()), ["relu"], **readings)
    assert found.values["succinctness@0.1/0.5"] == found.values["succinctness"]
    assert "succinctness@0.1/0.9.relu" in found.values


def test_feature_maps_are_measured_by_chunk_resumed_and_equal_to_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network, data, layers = conv3(3).eval(), colours(), ["relu1", "relu3"]
    data.test = Labelled(torch.randint(0, 256, (8, 3, 8, 8), dtype=torch.uint8), data.test.labels)
    seen: list[int] = []

    def power_cut(
        network: nn.Module, layers: list[str], images: Tensor, labels: Tensor, **readings: Any
    ) -> pd.DataFrame:
        if len(images) == 2:
            raise RuntimeError("power cut")
        return counted(network, layers, images, labels, **readings)

    def counted(network: nn.Module, layers: list[str], images: Tensor, labels: Tensor, **readings: Any) -> pd.DataFrame:
        seen.append(len(images))
        return feature_map_rows(network, layers, images, labels, **readings)

    monkeypatch.setattr(feature_maps, "CHUNK", 3)
    monkeypatch.setattr(feature_maps, "feature_map_rows", power_cut)
    with pytest.raises(RuntimeError, match="power cut"):
        cell(tmp_path).run(lambda one: measure_feature_maps(one, subject_of(network, data), layers))
    assert seen == [3, 3] and cell(tmp_path).finished() is None
    monkeypatch.setattr(feature_maps, "feature_map_rows", counted)
    record = cell(tmp_path).run(lambda one: measure_feature_maps(one, subject_of(network, data), layers))
    assert seen == [3, 3, 2]

    rows = feature_map_rows(network, layers, scale(data.test.images), data.test.labels)
    expected = feature_map_values(rows, {"relu1": 32, "relu3": 128})
    assert all(0 < expected[name] < 1 for name in ("area.relu1", "dispersion.relu1", "succinctness.relu1"))
    recorded = {name: value if isfinite(value) else None for name, value in expected.items()}
    assert record["values"] == pytest.approx(recorded, abs=1e-6)
    assert record["n"] == 8 and record["weights"] == TRAINING["weights"] and record["data"]["name"] == "colours"
    left = pd.read_parquet(cell(tmp_path).folder / "rows.parquet")
    assert left["image"].tolist() == list(range(8)) and left["label"].tolist() == list(LABELS)
    pd.testing.assert_frame_equal(left.drop(columns="image"), rows, rtol=1e-5, atol=1e-6)


def test_filters_that_stay_live_come_first() -> None:
    plain = torch.zeros(5, 2, 2)
    plain[:, 0, 0] = torch.tensor([1.0, 5, 3, 4, 0])
    live = torch.tensor([[1, 1, 1, 1, 0], [1, 0, 1, 0, 1], [1, 0, 1, 1, 1]]).bool()
    assert most_live(plain, live, 3) == [2, 0, 3]  # live under all, the higher peak first; then under two
    assert most_live(plain, live, 9) == [2, 0, 3, 1]  # the last is not live without the loss
