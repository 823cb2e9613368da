"""The plot of waiting times shows each method where its times are."""

import pytest

from xcnn.errors import UserError
from xcnn.figures import Latency, latency_plot


def test_lines_from_the_median_to_the_95th_percentile() -> None:
    figure = latency_plot([Latency("one", 3.0, 4.5), Latency("two", 30.0, 90.0)], forward=1.5, limits=[100.0])
    (axes,) = figure.axes
    spans = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2]
    assert [3.0, 4.5] in [list(each) for each in spans] and [30.0, 90.0] in [list(each) for each in spans]
    assert [text.get_text() for text in axes.texts] == ["2×", "20×"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "two"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1] and axes.get_xscale() == "log"


def test_nothing_to_draw() -> None:
    with pytest.raises(UserError, match="latencies is empty"):
        latency_plot([], 1.0)
