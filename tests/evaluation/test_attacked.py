"""Scores of attacked images on a linear network, whose attacks are known."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from xcnn.attribution import Gradient
from xcnn.data import Labelled, TensorDataModule
from xcnn.errors import UserError
from xcnn.evaluation.attacked import CLEAN, VERSIONS, attacked_rows, detection
from xcnn.evaluation.robustness import Attacks
from xcnn.evaluation.subject import Subject
from xcnn.report.cells import Cell


class Halves(TensorDataModule):
    """Noise whose left half is brighter in class 0, and whose right half is in class 1."""

    name = "halves"

    def load(self) -> tuple[Labelled, Labelled, tuple[str, ...]]:
        generator = torch.Generator().manual_seed(0)
        labels = torch.arange(40) % 2
        images = torch.randint(100, 130, (40, 3, 8, 8), generator=generator)
        images[labels == 0, :, :, :4] += 20
        images[labels == 1, :, :, 4:] += 20
        part = Labelled(images.to(torch.uint8), labels)
        return part, part, ("left", "right")


def subject() -> Subject:
    weight = torch.zeros(2, 3, 8, 8)
    weight[0, :, :, :4], weight[1, :, :, 4:] = 1.0, 1.0
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 2, bias=False))
    with torch.no_grad():
        network[1].weight.copy_(weight.flatten(1))
    data = Halves(batch_size=8)
    data.setup()
    return Subject(network.eval(), data, nn.Identity(), None, batch=10)


def test_rows_of_a_linear_network(tmp_path: Path) -> None:
    own = subject()
    methods = {"gradient": Gradient(own.network)}
    attacks = Attacks(0.05, 5, 1, 5)
    rows = attacked_rows(Cell("a/b", "c", tmp_path, {}, {}), own, methods, attacks, 0.7, 20)
    logits = {version: torch.from_numpy(np.stack(rows[f"logits/{version}"].to_list())) for version in VERSIONS}
    labels = torch.tensor(rows["label"].to_numpy(np.int64))
    margin = {
        v: (each.gather(1, labels[:, None]) - each.gather(1, 1 - labels[:, None]))[:, 0] for v, each in logits.items()
    }
    # FGSM takes epsilon off each of 96 pixels of the own half and adds it to the other's: the margin by hand.
    torch.testing.assert_close(margin["fgsm"], margin[CLEAN] - 192 * 0.05, atol=5e-3, rtol=0)
    torch.testing.assert_close(margin["pgd"], margin["fgsm"], atol=5e-3, rtol=0)
    assert (margin["deepfool"] < 0).all() and (margin["deepfool"] > -0.03 * margin[CLEAN]).all()
    assert (rows[f"gradient/{CLEAN}"] == 0).all()  # a linear network's gradient is the same everywhere
    values = detection(rows, methods, 0.2, 0, penalty=0.01, rank=1)
    assert values["accuracy"] == 1 and values["turned/fgsm"] == values["turned/deepfool"] == 1
    assert values[f"turned/{CLEAN}"] == values["turned/noise"] == 0
    assert values["auroc/deepfool/confidence"] == 1 and values["auroc/fgsm/map_gradient"] == 0.5
    assert values["auroc.low/deepfool/confidence"] == values["beside/deepfool/confidence"] == 1
    assert values["coverage/fgsm/lac"] == 0 and values[f"coverage/{CLEAN}/lac"] >= 0.7


def frame(**changes: Any) -> pd.DataFrame:
    """Rows of two images, the second of which is told by every score."""
    columns: dict[str, Any] = {"broken": [False] * 8, "label": [0, 1] * 4}
    for version in VERSIONS:
        sure = np.array([[4.0, 0.0], [0.0, 4.0]] * 4)
        columns[f"logits/{version}"] = list(sure if version != "fgsm" else sure / 8)
        columns[f"squeezed/{version}"] = [0.5 if version == "fgsm" else 0.1] * 8
    return pd.DataFrame(columns | changes)


def test_detection_by_hand() -> None:
    values = detection(frame(), {}, 0.3, 0, penalty=0.0, rank=0)
    assert values["auroc/fgsm/confidence"] == values["auroc/fgsm/squeezed"] == values["beside/fgsm/squeezed"] == 1
    assert values["auroc/pgd/confidence"] == values["auroc/noise/squeezed"] == 0.5
    # Sets of sure images have their class; a class of probability 0.62 is not probable enough for one.
    assert values["size/clean/lac"] == 1 and values["coverage/fgsm/lac"] == values["size/fgsm/lac"] == 0
    assert "beside/noise/confidence" not in values


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none of the images right"):
        detection(frame(label=[1, 0] * 4), {}, 0.3, 0)
    with pytest.raises(UserError, match="choose it above 0, not 0"):
        attacked_rows(Cell("a/b", "c", tmp_path, {}, {}), subject(), {}, Attacks(0.1, 1, 1, 1), 0, 10)
