"""A method of one's own is one file and one config: then tables, figures and benchmarks take it by name."""

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import TINY, Adds
from tests.launch.test_run import run
from xcnn.attribution import Method

METHOD = '''
from torch import Tensor

from xcnn.attribution import LayerMethod, Probe


class Strongest(LayerMethod):
    """The strongest channel of each location."""

    def __init__(self, model, layer, power=1.0):
        super().__init__(model, layer)
        self.power = power

    def attribute(self, probe: Probe) -> Tensor:
        return probe.features.amax(1) ** self.power
'''
CONFIG = """
method: strongest
attribution:
  _target_: strongest.Strongest
  _partial_: true
  layer: ${cam_layer}
  power: 2.0
"""
ON_SHAPES = (*TINY, "model=conv3", "training=deconvolve", "penalty=none")


@pytest.fixture
def newcomer(places: Path, adds: Adds) -> Path:
    adds("attribution", "strongest", CONFIG, METHOD)
    return places


@pytest.mark.parametrize("name", ["table1", "localisation"])
def test_tables_take_it_by_name(newcomer: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    cell = "cell=${dataset}-${network}-${method}-0of1"
    run(monkeypatch, f"pixel_ablation_cam/{name}", *ON_SHAPES, cell, "attribution=strongest,grad_cam")
    home = newcomer / "results" / "pixel_ablation_cam"
    records = [json.loads(line) for line in (home / f"{name}.runs.jsonl").read_text().splitlines()]
    pooled = {record["method"]: record for record in records if "pooled" in record["details"]}
    assert pooled.keys() == {"strongest", "grad_cam"}
    assert pooled["strongest"]["settings"]["attribution"]["power"] == 2.0
    assert any(".less/" in metric or metric.endswith(".less") for metric in pooled["strongest"]["values"])
    assert "| strongest |" in (home / f"{name}.md").read_text()


def test_figures_take_it_by_name(newcomer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    methods = "figure.methods=[grad_cam,strongest]"
    rules = "figure.rules=[{n: 1, confidence: 0.0, least_boxes: 1, most_boxes: 1, distinct: false}]"
    run(monkeypatch, "pixel_ablation_cam/figure2", *ON_SHAPES, methods, rules)
    assert "strongest" in (newcomer / "results" / "pixel_ablation_cam" / "figure2.md").read_text()


PROTOTYPES = '''
from xcnn.prototypes import KMEx


class Means(KMEx):
    """The normalised mean of each class."""

    def __init__(self, encoder, power=1.0):
        super().__init__(encoder, per_class=1, normalised=True)
'''


def test_prototypes_of_ones_own_stand_beside_the_others(
    places: Path, adds: Adds, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CONFIG.replace("strongest", "means").replace("Strongest", "Means").replace("attribution:", "prototypes:")
    config = config.replace("  layer: ${cam_layer}\n", "")
    adds("prototypes", "means", config + "encoder: {blocks: '${blocks}', depth: 1}\n", PROTOTYPES)
    small = ["seed=0", "batch=16", *(override for override in TINY if not override.startswith("data="))]
    for name in ("table1", "table2"):
        run(monkeypatch, f"self_explanation/{name}", "sweep=shapes", "prototypes=columns,means", *small)
        page = (places / "results" / "self_explanation" / f"{name}.md").read_text()
        assert "| means |" in page and "| CNN |" in page


@pytest.mark.slow
def test_the_leaderboard_takes_it_by_name(newcomer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parts are measured where they are not, and read where they are: the second call measures nothing."""
    small = [each for each in TINY if not each.startswith("data=")]
    arguments = ["sweep=shapes", "data.test_size=8", "attribution=strongest,gradient", *small]
    run(monkeypatch, "white_box/leaderboard", *arguments)
    home = newcomer / "results" / "white_box"
    records = [json.loads(line) for line in (home / "leaderboard.runs.jsonl").read_text().splitlines()]
    pooled = {record["method"]: record for record in records if "pooled" in record["details"]}
    assert pooled.keys() == {"strongest", "gradient"}
    parts = {"faithful", "localised", "robust", "sane", "cheap"}
    assert all(parts <= {name for name, value in record["values"].items() if value is not None}
               for record in pooled.values())  # fmt: skip
    assert "robust.less_gradient" in pooled["strongest"]["values"]
    assert "| strongest |" in (home / "leaderboard.md").read_text()

    runs = newcomer / "runs" / "white_box"
    whole = (runs / "leaderboard" / "shapes-conv3-strongest-0of1" / "rows.parquet").read_bytes()
    shutil.rmtree(runs / "leaderboard")  # as if killed after its parts

    def refuses(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(Method, "explain", refuses)
    run(monkeypatch, "white_box/leaderboard", *arguments)
    assert (runs / "leaderboard" / "shapes-conv3-strongest-0of1" / "rows.parquet").read_bytes() == whole
