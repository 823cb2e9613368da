"""The cells of tables 1 and 2 against the metrics formed by hand."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from xcnn.attribution import ActivationSum, GradCAM, upsample
from xcnn.data.pictures import PictureBatch, Pictures, PictureTensors
from xcnn.data.tensors import scale
from xcnn.evaluation.faithfulness import measure_faithfulness, pool_faithfulness
from xcnn.evaluation.subject import Subject
from xcnn.metrics.faithfulness import protocols
from xcnn.models import conv3
from xcnn.report import Cell

NAMED = ("grad_cam", "ablation_cam", "pixel_ablation_cam")


class Broken(Pictures):
    """Some pictures, of which one cannot be read."""

    def __init__(self, pictures: PictureTensors, name: str):
        self.pictures, self.name = pictures, name
        self.ids, self.labels = pictures.ids, pictures.labels

    def read(self, indices: Any) -> PictureBatch:
        good = [index for index in indices if self.ids[index] != self.name]
        batch = self.pictures.read(good)
        lost = {self.name: "damaged"} if len(good) < len(indices) else {}
        return PictureBatch(batch.images, batch.labels, batch.boxes, batch.ids, lost)


def normalise(images: torch.Tensor) -> torch.Tensor:
    return (images - 0.4) / 0.2


def of(pictures: Pictures) -> SimpleNamespace:
    return SimpleNamespace(pictures=pictures, name="drawn", manifest="0", classes=list("abcd"))


@pytest.fixture
def subject() -> Subject:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (13, 3, 16, 16), dtype=torch.uint8)
    labels = torch.arange(13) % 4
    pictures = PictureTensors(images, labels, [torch.empty(0, 4)] * 13, [f"p{k}" for k in range(13)])
    return Subject(conv3(4).eval(), of(pictures), normalise, None, batch=4)  # type: ignore[arg-type]


def cell(folder: Path, method: str = "grad_cam") -> Cell:
    labels = {"dataset": "drawn", "model": "conv3", "method": method, "seed": 0}
    return Cell("pixel_ablation_cam/table1", f"{method}-0of1", folder / method, {"data": {}, "method": method}, labels)


def test_rows_against_the_network_itself(subject: Subject, tmp_path: Path) -> None:
    method = GradCAM(subject.network, "relu3")
    found = measure_faithfulness(cell(tmp_path), subject, method, protocols(), chunk=8)
    rows = pd.read_parquet(tmp_path / "grad_cam" / "rows.parquet").set_index("id")
    assert list(rows.index) == list(subject.pictures.ids) and not rows["broken"].any() and found.n == 13
    image = scale(subject.pictures.images[5:6])
    with torch.no_grad():
        logits = subject.network(normalise(image))
    target = int(logits.argmax())
    row = rows.loc["p5"]
    assert row["target"] == target
    assert row["confidence"] == pytest.approx(float(logits.softmax(1)[0, target]), rel=1e-5)
    maps = upsample(method(normalise(image)), (16, 16))
    order = maps.flatten().sort(descending=True, stable=True).indices[: round(0.2 * 256)]
    mask = torch.zeros(256).index_fill(0, order, 1).view(1, 1, 16, 16)
    for name, shown in (("black", normalise(image * mask)), ("mean", normalise(image) * mask)):
        with torch.no_grad():
            masked = subject.network(shown)
        assert row[f"activation/top_fraction-{name}"] == pytest.approx(float(masked[0, target]), abs=1e-4)
    y, o = rows["confidence"], rows["confidence/soft-black"]
    assert found.values["drop_confidence/soft-black"] == pytest.approx(100 * np.maximum(0, (y - o) / y).mean())
    assert found.values["increase_confidence/soft-black"] == pytest.approx(100 * (o > y).mean())


def test_an_interrupted_cell_has_the_rows_of_an_uninterrupted_one(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = GradCAM(subject.network, "relu3")
    measure_faithfulness(cell(tmp_path / "whole"), subject, method, protocols(), chunk=4)
    calls = 0
    explain = GradCAM.explain

    def fails(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return explain(*arguments)

    monkeypatch.setattr(GradCAM, "explain", fails)
    with pytest.raises(KeyboardInterrupt):
        measure_faithfulness(cell(tmp_path / "cut"), subject, method, protocols(), chunk=4)
    monkeypatch.undo()
    measure_faithfulness(cell(tmp_path / "cut"), subject, method, protocols(), chunk=4)
    whole, cut = (pd.read_parquet(tmp_path / name / "grad_cam" / "rows.parquet") for name in ("whole", "cut"))
    pd.testing.assert_frame_equal(whole, cut, check_exact=True)


def test_a_broken_picture_keeps_its_row_and_is_left_out_of_the_means(subject: Subject, tmp_path: Path) -> None:
    pictures = subject.pictures
    assert isinstance(pictures, PictureTensors)
    broken = replace(subject, data=of(Broken(pictures, "p6")))  # type: ignore[arg-type]
    method = GradCAM(subject.network, "relu3")
    whole = measure_faithfulness(cell(tmp_path / "whole"), subject, method, protocols(), chunk=8)
    found = measure_faithfulness(cell(tmp_path / "broken"), broken, method, protocols(), chunk=8)
    rows = pd.read_parquet(tmp_path / "broken" / "grad_cam" / "rows.parquet")
    assert (whole.n, found.n) == (13, 12)
    assert rows.loc[rows["broken"], "id"].tolist() == ["p6"] and len(rows) == 13


def frames(**drops: list[float]) -> dict[str, pd.DataFrame]:
    """Rows of methods whose confidence falls from 1 by these shares, under one protocol."""
    base = {"broken": False, "label": 0, "target": 0, "confidence": 1.0, "activation": 2.0, "ablations": 0}
    return {
        method: pd.DataFrame(
            [
                {**base, "id": f"p{k}", "kept/soft": 0.5}
                | {
                    f"{output}/soft-black": scale * (1 - drop)
                    for output, scale in (("confidence", 1), ("activation", 2))
                }
                for k, drop in enumerate(values)
            ]
        )
        for method, values in drops.items()
    }


def test_wins_intervals_and_paired_differences() -> None:
    rows = frames(
        grad_cam=[0.4, 0.6, 0.2, 0.1], ablation_cam=[0.3, 0.6, 0.3, 0.1], pixel_ablation_cam=[0.5, 0.7, 0.1, 0.1]
    )
    values = pool_faithfulness(rows, NAMED, ["grad_cam", "ablation_cam"])
    name = "drop_confidence/soft-black"
    assert values["grad_cam"][name] == pytest.approx(32.5)
    assert values["pixel_ablation_cam"]["drop_confidence.less/soft-black"] == pytest.approx(100 * (0.1 + 0.1 - 0.1) / 4)
    second = values["pixel_ablation_cam"]["drop_confidence.less_ablation_cam/soft-black"]
    assert second == pytest.approx(100 * (0.2 + 0.1 - 0.2) / 4)
    low, high = (
        values["pixel_ablation_cam"][f"drop_confidence.less_ablation_cam_{e}/soft-black"] for e in ("low", "high")
    )
    assert low < second < high
    assert "drop_confidence.less_ablation_cam/soft-black" not in values["ablation_cam"]
    assert (
        values["grad_cam"]["drop_confidence.low/soft-black"]
        < 32.5
        < values["grad_cam"]["drop_confidence.high/soft-black"]
    )
    won = [values[method]["win_confidence/soft-black"] for method in NAMED]
    assert won == pytest.approx([0, 25, 25])  # two pictures are ties
    assert "drop_confidence.less/soft-black" not in values["grad_cam"]


def test_a_method_that_is_no_method_of_ours(subject: Subject, tmp_path: Path) -> None:
    class Edges(ActivationSum):
        """A newcomer's."""

        def attribute(self, probe: Any) -> torch.Tensor:
            return probe.features.diff(dim=3, prepend=probe.features[..., :1]).abs().sum(1)

    found = measure_faithfulness(
        cell(tmp_path, "edges"), subject, Edges(subject.network, "relu3"), protocols(), chunk=4
    )
    assert found.n == 13 and 0 <= found.values["drop_confidence/top_fraction-mean"] <= 100
