"""What the pages of the survey's figures say of given numbers, and what figure 4 measures of a colour scale."""

from typing import Any

import pytest

from experiments.white_box import figure6, figure9, smoothness
from experiments.white_box.figure4 import SAID, falling, strongest
from xcnn.evaluation.map_appearance import QUANTITIES
from xcnn.report import aggregate
from xcnn.report.page import Page
from xcnn.report.provenance import REPOSITORY


def record(dataset: str, methods: list[str], values: dict[str, float]) -> dict[str, Any]:
    """A cell of figure 6 or 9 with these values in place of 0.5."""
    filled = {f"{name}/{method}": 0.5 for name in QUANTITIES for method in methods} | values
    return {
        "cell": dataset, "dataset": dataset, "model": "conv3", "method": "guided_backprop", "seed": 0, "n": 16,
        "weights": "w", "training": None, "files": {}, "data": {"name": dataset, "manifest": "m"}, "git_sha": "0" * 12,
        "dirty": False, "lock": "l", "versions": {"torch": "2"}, "device": "cpu", "machine": "a machine",
        "precision": "32-true", "wall_s": 60.0, "values": filled, "details": {"layer": "relu3", "pictures": []},
        "settings": {"figure": {"methods": methods, "rules": [], "pictures": ["a"]}}, "fingerprint": "f",
    }  # fmt: skip


def paired(metric: str, method: str, second: str, less: float, spread: float) -> dict[str, float]:
    """`metric` of `method` such that it is `less` from 0.5, with the interval of that difference."""
    name = f"{metric}.less_{second}"
    return {
        f"{metric}/{method}": 0.5 + less,
        f"{name}/{method}": less,
        f"{name}_low/{method}": less - spread,
        f"{name}_high/{method}": less + spread,
    }


def six(dataset: str, bright: float, edges: float) -> dict[str, Any]:
    values = paired("share_above", "guided_backprop", "gradient", bright, 0.01)
    values |= paired("edge_share", "guided_backprop", "gradient", edges, 0.01)
    return record(dataset, ["gradient", "guided_backprop"], values)


@pytest.mark.parametrize(
    ("bright", "edges", "verdict", "rulings"),
    [
        (-0.1, 0.2, "reproduced", ["holds", "holds"]),
        (0.1, 0.2, "not reproduced", ["does not hold", "holds"]),
        (-0.1, 0.005, "not reproduced", ["holds", "not told apart"]),
    ],
)
def test_photographs_make_the_verdict(bright: float, edges: float, verdict: str, rulings: list[str]) -> None:
    rows = aggregate([six("imagenette", bright, edges), six("shapes", 0.3, -0.3)])
    summary = figure6.summarise(rows, [])
    assert [claim.verdict for claim in summary.claims] == [*rulings, "does not hold", "does not hold"]
    page = Page("white_box/figure6", "make white-box-figure6", summary, rows, [], {}, {})
    assert page.verdict == verdict
    text = page.render(REPOSITORY / "experiments")
    assert f"{100 * (0.5 + bright):.2f} % of the pixels" in text and f"{bright:+.3f}" in text
    assert "capital" not in text and text.count("16 images of") >= 4


def test_drawn_images_alone_are_not_comparable() -> None:
    rows = aggregate([six("shapes", -0.1, 0.2)])
    summary = figure6.summarise(rows, [])
    assert Page("white_box/figure6", "", summary, rows, [], {}, {}).verdict == "not comparable"


def test_figure_9_by_the_methods_names() -> None:
    names = {"lrp": "lrp_epsilon"}
    methods = ["lrp", "lrp_epsilon_no_bias", "lrp_alpha1_beta0", "fem"]
    one = record("imagenette", [names.get(name, name) for name in methods], {})
    one["settings"]["figure"]["methods"] = methods
    for metric, first, second, less in (
        ("gini", "lrp_epsilon_no_bias", "lrp_epsilon", 0.3),
        ("extent", "lrp_epsilon_no_bias", "lrp_epsilon", -0.3),
        ("edge_share", "lrp_alpha1_beta0", "lrp_epsilon", 0.2),
        ("fine_detail", "fem", "lrp_alpha1_beta0", -0.4),
        ("gini", "lrp_epsilon", "fem", 0.1),
    ):
        one["values"] |= paired(metric, first, second, less, 0.01)
    less = {"": 0.2, "_low": 0.19, "_high": 0.21}  # of 0.8 and of 0.6, which the last pair made of the second
    one["values"] |= {f"gini.less_lrp_epsilon{end}/lrp_epsilon_no_bias": each for end, each in less.items()}
    rows = aggregate([one])
    summary = figure9.summarise(rows, [])
    assert [claim.verdict for claim in summary.claims] == ["holds"] * 5
    page = Page("white_box/figure9", "", summary, rows, [], {}, {})
    text = page.render(REPOSITORY / "experiments")
    assert page.verdict == "reproduced" and "Gini indices are 0.60 and 0.80" in text


def test_smoothness_says_each_claim_apart() -> None:
    """SmoothGrad smoother and no sharper, integrated gradients rougher than the input times the gradient."""
    values = paired("fine_detail", "smooth_grad", "gradient", -0.2, 0.01)
    values |= paired("fine_detail", "integrated_gradients", "input_x_gradient", 0.1, 0.01)
    values |= paired("edge_share", "smooth_grad", "gradient", 0.005, 0.01)
    rows = aggregate(
        [record("imagenette", ["gradient", "smooth_grad", "input_x_gradient", "integrated_gradients"], values)]
    )
    summary = smoothness.summarise(rows, [])
    assert [claim.verdict for claim in summary.claims] == ["holds", "not told apart", "does not hold"]
    page = Page("white_box/smoothness", "", summary, rows, [], {}, {})
    text = page.render(REPOSITORY / "experiments")
    assert page.verdict == "not reproduced"
    assert "50 % of the variance of a gradient's map is fine detail and 30 % of SmoothGrad's" in text
    assert "50.0 % of the input times the gradient and 60.0 % of integrated gradients" in text


def test_colour_scales() -> None:
    assert strongest("jet") == SAID
    assert strongest("gray_r")["lowest"] == "red"  # all three alike: the first
    assert falling("gray", 256) == 0 and falling("gray_r", 64) == 1
    assert falling("inferno", 256) == 0
    assert 0.3 < falling("jet", 256) < 0.6
