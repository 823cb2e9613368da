"""Colours that are told apart, measured in CIELAB."""

import torch
from matplotlib.colors import to_rgb

from xcnn.colour import cielab
from xcnn.figures import distinct_colours
from xcnn.figures.style import PALETTE


def test_distinct_colours() -> None:
    colours = distinct_colours(21)
    assert colours[:7] == tuple(colour.lower() for colour in PALETTE)
    assert distinct_colours(3) == colours[:3]
    lab = cielab(torch.tensor([to_rgb(colour) for colour in colours]))
    assert torch.pdist(lab).min() > 14  # twice the distance of matplotlib's closest pair in tab20
    assert len(set(distinct_colours(300))) == 300
