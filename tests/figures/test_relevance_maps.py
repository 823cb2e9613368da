"""Relevance in colours: zero is white or black, the ends are the ends, and text keeps off text."""

import matplotlib
import numpy as np
import pytest
import torch

from tests.figures.drawn import overlapping
from xcnn.errors import UserError
from xcnn.figures import HeatMapRow, PathRow, integration_path, jet_overlay, relevance_grid
from xcnn.figures.relevance_maps import coloured

GREY = torch.full((3, 16, 16), 128, dtype=torch.uint8)
RAMP = torch.linspace(-1, 2, 16).expand(16, 16)


def colour(name: str, share: float) -> np.ndarray:
    return np.array(matplotlib.colormaps[name](share)[:3])


def test_a_signed_map_has_its_zero_in_the_middle() -> None:
    values = torch.tensor([[-2.0, -1.0], [0.0, 2.0]])
    drawn = coloured(values, "signed", (2, 2))
    for (row, column), share in {(0, 0): 0.0, (0, 1): 0.25, (1, 0): 0.5, (1, 1): 1.0}.items():
        np.testing.assert_allclose(drawn[:, row, column], colour("RdBu_r", share), atol=0.02)


def test_a_sequential_map_begins_at_zero_and_ends_at_a_percentile() -> None:
    values = torch.ones(20, 20)
    values[0, 0], values[0, 1] = 100.0, 0.0  # one outlier of 400 is beyond the scale
    drawn = coloured(values, "sequential", (20, 20))
    np.testing.assert_allclose(drawn[:, 0, 0], colour("inferno", 1.0), atol=0.01)
    np.testing.assert_allclose(drawn[:, 5, 5], colour("inferno", 1.0), atol=0.01)
    np.testing.assert_allclose(drawn[:, 0, 1], colour("inferno", 0.0), atol=0.01)
    assert np.isfinite(coloured(torch.zeros(4, 4), "sequential", (8, 8))).all()


def test_jet_from_blue_over_green_to_red() -> None:
    drawn = jet_overlay(torch.ones(3, 16, 16), RAMP)
    assert drawn.shape == (3, 224, 224)
    for column, share in ((0, 0.0), (223, 1.0)):
        np.testing.assert_allclose(drawn[:, 100, column], 0.5 + 0.5 * colour("jet", share), atol=0.02)
    middle = drawn[:, 100, 112]
    assert middle.argmax() == 1


def test_each_column_has_its_own_colours() -> None:
    picture = torch.zeros(3, 16, 16)
    picture[0] = 1
    maps = {"signed": RAMP, "heat": RAMP, "own picture": picture}
    row = HeatMapRow(GREY, "grey, confidence 0.50", maps, notes={"own picture": "red"})
    figure = relevance_grid([row], {"signed": "signed", "heat": "heat", "own picture": "picture"}, "Title")
    assert [axes.get_title() for axes in figure.axes[:4]] == ["image", "signed", "heat", "own picture"]
    assert len(figure.axes) == 6  # a bar below each column but the pictures
    shown = figure.axes[3].images[0].get_array()
    assert shown is not None
    np.testing.assert_allclose(shown[0, 0], [1, 0, 0])
    assert [text.get_text() for text in figure.axes[4].get_xticklabels()] == ["against", "0", "for"]
    assert overlapping(figure) == []
    assert figure.get_figwidth() <= 180 / 25.4 + 1e-6


def test_the_path_to_an_image() -> None:
    shares = [0.0, 0.5, 1.0]
    images = torch.tensor(shares)[:, None, None, None].expand(3, 3, 8, 8)
    row = PathRow(images, torch.rand(3, 8, 8), torch.randn(8, 8), "white", [f"confidence {s:.2f}" for s in shares])
    figure = integration_path([row, row], shares)
    upper = figure.axes[:4]
    assert [axes.get_title() for axes in upper[:3]] == ["α = 0.00", "α = 0.50", "α = 1.00"]
    for axes, share in zip(upper, shares, strict=False):
        shown = axes.images[0].get_array()
        assert shown is not None
        np.testing.assert_allclose(shown, share, atol=1e-6)
    assert upper[1].get_xlabel() == "confidence 0.50"
    assert overlapping(figure) == []


def test_refusals() -> None:
    with pytest.raises(UserError, match="unknown scale hot; there are: sequential, signed"):
        relevance_grid([HeatMapRow(GREY, "", {"a": RAMP})], {"a": "hot"})  # type: ignore[dict-item]
    with pytest.raises(UserError, match="scales is empty"):
        relevance_grid([HeatMapRow(GREY, "", {"a": RAMP})], {})
    with pytest.raises(UserError, match="one finite map"):
        coloured(torch.full((2, 2), torch.inf), "signed", (2, 2))
    with pytest.raises(UserError, match="rows is empty"):
        integration_path([], [0.0])
