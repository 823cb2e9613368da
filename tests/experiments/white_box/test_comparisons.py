"""Verdicts of the comparisons on given numbers, and their pages on the smallest real runs."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from experiments.white_box import robustness, similarity
from experiments.white_box.families import APART, BACKWARD, claims_between, leading
from tests.conftest import TINY
from tests.launch.test_run import run
from tests.report.test_tables import record
from xcnn.report import Row, aggregate
from xcnn.report.shards import side_by_side

FEW = [option for option in TINY if not option.startswith("data=")]


def rows(values: Mapping[str, Mapping[str, float]], dataset: str = "toy", n: int = 50) -> list[Row]:
    """Rows of methods on the same n images, as they are pooled."""
    shared = {"dataset": dataset, "n": n, "details": {"pooled": {}}}
    found = [record() | shared | {"method": method, "values": dict(each)} for method, each in values.items()]
    for one in found:
        one["settings"] = {**one["settings"], "method": one["method"], "n": n}
    return aggregate(found)


def test_claims_between_methods_that_were_measured() -> None:
    there = rows({"fem": {"x": 1.0}, "gradient": {"x": 2.0}})
    found = claims_between(there, ["x", "y"], ["fem", "lrp_epsilon"], ["gradient", "fem"], "lower")
    assert [(one.metric, one.methods) for one in found] == [("x", ("fem", "gradient")), ("y", ("fem", "gradient"))]


@pytest.mark.parametrize(("smooth_grad", "verdict"), [(0.7, "does not hold"), (0.5, "holds"), (0.6, "not told apart")])
def test_grad_cam_is_the_most_like_fem_if_it_is_before_the_nearest_other(smooth_grad: float, verdict: str) -> None:
    def alike(value: float, against: float = 0.6) -> dict[str, float]:
        found = {}
        for name in ("pcc_fem", "sim_fem"):
            for place in ("pixels", "blurred"):
                less = value - against
                found |= {f"{name}/{place}": value, f"{name}.less_grad_cam/{place}": less}
                found |= {
                    f"{name}.less_grad_cam_{end}/{place}": less + by for end, by in (("low", -0.05), ("high", 0.05))
                }
        return found

    measured = {"grad_cam": alike(0.6), "gradient": alike(0.3), "smooth_grad": alike(smooth_grad), "centre": alike(0.9)}
    found = similarity.summarise(rows(measured), [])
    assert {one.methods for one in found.claims} == {("smooth_grad", "grad_cam")} and len(found.claims) == 4
    assert {one.verdict for one in found.claims} == {verdict} and all(one.counts for one in found.claims)
    assert not any(one.counts for one in similarity.summarise(rows(measured, "shapes"), []).claims)
    (network,) = found.facts["networks"]
    first = "smooth_grad" if smooth_grad > 0.6 else "grad_cam"
    assert network["nearest"]["pcc_fem/pixels"][0].method == first  # controls are no gradient-based methods


def test_a_page_speaks_of_the_most_images_on_which_all_methods_are() -> None:
    """Where there are none, of those with the most methods."""
    few, all_six = {"fem": {"x": 1.0}, "gradient": {"x": 2.0}}, {each: {"x": 1.0} for each in (*BACKWARD, *APART)}
    three = few | {"lrp_epsilon": {"x": 1.0}}
    groups = side_by_side([*rows(few, n=99), *rows(all_six), *rows(all_six | {"grad_cam": {"x": 1.0}}, n=9)])
    assert [len(groups[name]) for name in leading(groups)] == [6]
    groups = side_by_side([*rows(few, n=99), *rows(three), *rows(few, "shapes")])
    assert sorted(len(groups[name]) for name in leading(groups)) == [2, 3]


def test_robust_methods_are_held_against_the_most_robust_gradient() -> None:
    def dice(value: float) -> dict[str, float]:
        names = [*robustness.ATTACKS, *robustness.NOISES]
        ends = {"": value, ".low": value - 0.01, ".high": value + 0.01}
        return {f"dice{end}/{name}": each for end, each in ends.items() for name in names}

    measured = {"gradient": dice(0.5), "guided_backprop": dice(0.8), "fem": dice(0.9), "lrp_epsilon": dice(0.6)}
    beside = rows({"gradient": dice(0.5), "fem": dice(0.9)}, n=99)  # more images of fewer methods make no claims
    found = robustness.summarise([*rows(measured), *beside], [])
    assert {(one.methods, one.verdict, one.counts) for one in found.claims} == {
        (("fem", "guided_backprop"), "holds", True),
        (("lrp_epsilon", "guided_backprop"), "does not hold", True),
        (("fem", "gradient"), "holds", False),
        (("lrp_epsilon", "gradient"), "holds", False),
    }
    assert not any(one.counts for one in robustness.summarise(rows(measured, "shapes"), []).claims)
    (main,) = [network for network in found.facts["networks"] if network["main"]]
    assert [row.method for row in main["ranked"]] == [
        "gradient",
        "lrp_epsilon",
        "guided_backprop",
        "fem",
    ]


SMALL = {
    "similarity": [],
    "class_sensitivity": [],
    "robustness": [],
    "sanity": ["sweep=shapes", "stages=2"],
    "localisation": ["perturbation.share=1.0", "perturbation.steps=2"],
    "faithfulness": [],
    "time": ["sweep=shapes", "seed=0", "repeats=1"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_pages_of_the_smallest_runs(places: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    arguments = ["sweep=shapes", *SMALL[name], "data.test_size=8", "attribution=gradient,grad_cam,fem,centre", *FEW]
    run(monkeypatch, f"white_box/{name}", *dict.fromkeys(arguments))
    home = places / "results" / "white_box"
    page = (home / f"{name}.md").read_text()
    for title in ("gradient", "Grad-CAM", "FEM", "centre"):
        assert f"\n| {title} |" in page
    first = page.partition("<details>")[0].splitlines()
    assert "8 images of shapes" in first[3] or name == "time"
    records = [json.loads(line) for line in (home / f"{name}.runs.jsonl").read_text().splitlines()]
    assert {one["method"] for one in records} == {"gradient", "grad_cam", "fem", "centre"}


@pytest.mark.slow
def test_shattering_of_small_networks(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = ["lines=3", "chunk=3", "depths=[2,12]", "steps=24", "lags=[1,2]"]
    run(monkeypatch, "white_box/shattering", *few, "attribution=gradient,fem,random", "data.n_train=64")
    page = (places / "results" / "white_box" / "shattering.md").read_text()
    assert "| gradient: 12 convolutions less 2, autocorrelation at lag 1 | below 0 | -" in page
    assert "| FEM shatters less than gradient with 12 convolutions: autocorrelation at lag 1 | above 0 | +" in page
