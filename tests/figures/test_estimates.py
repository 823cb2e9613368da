"""What the plots of estimates show, read back from the figure."""

from collections.abc import Sequence

import numpy as np
import pytest
from matplotlib.axes import Axes

from tests.figures.drawn import overlapping
from xcnn.errors import UserError
from xcnn.figures import Estimate, protocol_plot
from xcnn.figures.style import GRID

METHODS = ("CAM", "Grad-CAM", "Ablation-CAM++", "Pixel Ablation-CAM, drop", "sum of activations", "random")


def estimates(methods: Sequence[str] = METHODS) -> list[Estimate]:
    values = [
        (protocol, metric, method, 10.0 * p + 100 * m + k)
        for p, protocol in enumerate(("keep the top 20 %, black", "threshold 0.2, mean"))
        for m, metric in enumerate(("average drop, confidence (%)\nlower is better", "increase"))
        for k, method in enumerate(methods)
    ]
    return [Estimate(*place, value, value - 1, value + 2) for *place, value in values]


def points(axes: Axes, marker: str) -> dict[float, float]:
    """Values by line of the panel."""
    lines = [line for line in axes.get_lines() if line.get_marker() == marker]
    return {round(float(np.ravel(line.get_ydata())[0]), 2): float(np.ravel(line.get_xdata())[0]) for line in lines}


def spans(axes: Axes) -> set[tuple[float, ...]]:
    lines = [line for line in axes.get_lines() if line.get_marker() == "None" and line.get_color() != GRID]
    return {tuple(np.round(np.ravel(line.get_xydata()), 6)) for line in lines}


def test_protocol_plot() -> None:
    given = estimates(["Grad-CAM", "random"])
    paper = {"increase": {"Grad-CAM": (12.7, 0.5), "random": 9.0}}
    figure = protocol_plot(given[:-1], paper)
    axes = np.array(figure.axes).reshape(2, 2)
    for protocol in range(2):
        for metric in range(2):
            value = 10.0 * protocol + 100 * metric
            there = range(1 if protocol and metric else 2)
            shift = 0.17 * metric  # ours above the paper's, where there is one
            cell = axes[protocol, metric]
            assert points(cell, "o") == {round(k - shift, 2): value + k for k in there}
            printed = {0.17: 12.7, 1.17: 9.0} if metric else {}
            assert points(cell, "D") == printed
            ours = {(value + k - 1, k - shift, value + k + 2, k - shift) for k in there}
            assert spans(cell) == ours | ({(12.2, 0.17, 13.2, 0.17)} if metric else set())
            dashes = [(text.get_text(), text.get_position()[1]) for text in cell.texts]
            assert dashes == ([("–", 1 - shift)] if protocol and metric else [])
    assert [label.get_text() for label in axes[0, 0].get_yticklabels()] == ["Grad-CAM", "random"]
    assert axes[0, 0].get_ylim()[0] > axes[0, 0].get_ylim()[1]  # the first method on top
    assert axes[0, 1].get_xlim() == axes[1, 1].get_xlim()
    assert [row[0].get_ylabel().replace("\n", " ") for row in axes] == [
        "keep the top 20 %, black",
        "threshold 0.2, mean",
    ]
    assert [cell.get_title().replace("\n", " ") for cell in axes[0]] == [given[0].metric.replace("\n", " "), "increase"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ours, 95 % interval", "paper"]
    undefined = protocol_plot([Estimate("p", "m", "a", np.nan, np.nan, np.nan)])
    assert [text.get_text() for text in undefined.axes[0].texts] == ["–"]
    assert [text.get_text() for text in undefined.legends[0].get_texts()] == ["ours, 95 % interval"]


def test_no_text_over_another() -> None:
    assert overlapping(protocol_plot(estimates(), {"increase": {"CAM": 12.0}}, "Two protocols")) == []


def test_refusals() -> None:
    with pytest.raises(UserError, match="estimates is empty"):
        protocol_plot([])
    with pytest.raises(UserError, match="the same protocol, metric and method"):
        protocol_plot([*estimates(), estimates()[0]])
    for paper in ({"increase": {"grad_cam": 1.0}}, {"grad_cam": {"CAM": 1.0}}):
        with pytest.raises(UserError, match="the paper's grad_cam is in no estimate"):
            protocol_plot(estimates(), paper)
