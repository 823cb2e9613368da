"""Which networks each method explains: a small network measured, and the page beside one that refuses."""

import json
from pathlib import Path

import pytest

from experiments.white_box.breadth import summarise
from tests.launch.test_run import run
from xcnn.report import aggregate
from xcnn.report.page import Page
from xcnn.report.provenance import REPOSITORY

IDENTITY = "white_box/breadth"
REFUSED = {"fem": "no maps", "lrp_0": "no rule for attention", "lrp_gamma": "no rule for attention"}


def test_page(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, IDENTITY, "network=conv3", "side=32", "images=1", "steps=2", "samples=2", "timed.rounds=1")
    folder = places / "results/white_box"
    record = json.loads((folder / "breadth.runs.jsonl").read_text())
    errors = {name: value for name, value in record["values"].items() if name.startswith("error/")}
    assert max(value for name, value in errors.items() if "integrated" not in name) < 1e-9
    methods = sum(name.startswith("works/") for name in record["values"])
    assert f"On 1 network {methods} of {methods} pairs" in (page := (folder / "breadth.md").read_text())
    assert "none is refused" in page

    other = {**record, "model": "attention", "cell": "attention", "details": {**record["details"], "refused": REFUSED}}
    other["values"] = {key: value for key, value in record["values"].items() if key.partition("/")[2] not in REFUSED}
    other["values"] |= {f"works/{name}": 0.0 for name in REFUSED} | {"error/gradient": 0.25}
    rows = aggregate([record, other])
    text = Page(IDENTITY, "", summarise(rows, []), rows, [], {}, {}).render(REPOSITORY / "experiments")
    assert f"{2 * methods - 3} of {2 * methods} pairs of network and method work" in text
    assert "law holds to 2e-01 in float64; the others are refused, 3 by `attention`, for the reasons below" in text
    assert "| `attention` | lrp_0, lrp_gamma | no rule for attention |" in text
