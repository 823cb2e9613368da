"""What the plots of estimates show, read back from the figure."""

from collections.abc import Sequence

import numpy as np
import pytest

from tests.figures.drawn import overlapping
from xcnn.errors import UserError
from xcnn.figures import Estimate, protocol_plot

METHODS = ("CAM", "Grad-CAM", "Ablation-CAM++", "Pixel Ablation-CAM, drop", "sum of activations", "random")


def estimates(methods: Sequence[str] = METHODS) -> list[Estimate]:
    values = [
        (protocol, metric, method, 10.0 * p + 100 * m + k)
        for p, protocol in enumerate(("keep the top 20 %, black", "threshold 0.2, mean"))
        for m, metric in enumerate(("average drop, confidence (%)\nlower is better", "increase"))
        for k, method in enumerate(methods)
    ]
    return [Estimate(*place, value, value - 1, value + 2) for *place, value in values]


def test_protocol_plot() -> None:
    given = estimates(["Grad-CAM", "random"])
    paper = {"increase": {"Grad-CAM": 12.7}}
    figure = protocol_plot(given[:-1], paper)
    axes = np.array(figure.axes).reshape(2, 2)
    for protocol in range(2):
        for metric in range(2):
            lines = axes[protocol, metric].get_lines()
            points = {tuple(np.ravel(line.get_xydata())) for line in lines if line.get_marker() == "o"}
            spans = {tuple(np.ravel(line.get_xydata())) for line in lines if line.get_marker() == "None"}
            marks = [tuple(np.ravel(line.get_xydata())) for line in lines if line.get_marker() == "|"]
            value = 10.0 * protocol + 100 * metric
            there = range(1 if protocol and metric else 2)
            assert points == {(value + k, k) for k in there}
            assert spans == {(value + k - 1, k, value + k + 2, k) for k in there}
            assert marks == [(12.7, 0)] * metric
            dashes = [(text.get_text(), text.get_position()[1]) for text in axes[protocol, metric].texts]
            assert dashes == ([("–", 1)] if protocol and metric else [])
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
