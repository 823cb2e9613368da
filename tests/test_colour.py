"""CIELAB against published values, and names of colours nobody would dispute."""

import pytest
import torch
from matplotlib.colors import to_rgb

from xcnn.colour import BASIC_TERMS, basic_terms, cielab


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        # Bruce Lindbloom's calculator, sRGB primaries under D65.
        ("#ff0000", (53.2408, 80.0925, 67.2032)),
        ("#00ff00", (87.7347, -86.1827, 83.1793)),
        ("#0000ff", (32.2970, 79.1875, -107.8602)),
        ("#ffffff", (100.0, 0.0, 0.0)),
        ("#808080", (53.585, 0.0, 0.0)),
        ("#000000", (0.0, 0.0, 0.0)),
        ("#010101", (0.2742, 0.0, 0.0)),  # on both linear pieces: 903.3 / 12.92 / 255
    ],
)
def test_cielab(rgb: str, lab: tuple[float, float, float]) -> None:
    measured = cielab(torch.tensor(to_rgb(rgb), dtype=torch.float64))
    torch.testing.assert_close(measured, torch.tensor(lab, dtype=torch.float64), atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    ("term", "css"),
    [
        ("black", ["black", "#0a0a0a"]),
        ("white", ["white", "snow", "ivory"]),
        ("grey", ["grey", "silver", "slategrey", "dimgrey"]),
        ("red", ["red", "crimson", "firebrick", "darkred"]),
        ("green", ["green", "olivedrab", "limegreen", "darkgreen"]),
        ("yellow", ["yellow", "gold"]),
        ("blue", ["blue", "navy", "skyblue", "steelblue"]),
        ("brown", ["saddlebrown", "sienna", "tan"]),
        ("orange", ["orange", "darkorange"]),
        ("pink", ["pink", "hotpink", "lightpink"]),
        ("purple", ["purple", "indigo", "rebeccapurple"]),
    ],
)
def test_basic_terms(term: str, css: list[str]) -> None:
    names = basic_terms(torch.tensor([to_rgb(name) for name in css]))
    assert [BASIC_TERMS[index] for index in names] == [term] * len(css)
