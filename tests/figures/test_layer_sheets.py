"""What the sheet of a layer's filters shows, read back from it."""

import numpy as np
import pytest

from tests.figures.drawn import overlapping
from xcnn.errors import UserError
from xcnn.figures import SeenByFilter, layer_sheet


def seen(layer: str, index: int, patches: int = 3) -> SeenByFilter:
    grey = np.full((3, 6, 6), 0.25)
    return SeenByFilter(layer, index, grey, 2.5, [np.full((1, 4, 4), 0.1 * k) for k in range(patches)], [1.0] * patches)


def test_pictures_and_their_activations() -> None:
    figure = layer_sheet([seen("relu1", 7), seen("relu2", 30)], "shapes")
    axes = np.array(figure.axes).reshape(2, 4)
    assert axes[1, 0].get_ylabel() == "relu2\nfilter 30" and axes[0, 0].get_xlabel() == "2.50"
    assert np.allclose(axes[0, 0].images[0].get_array(), 0.25, atol=0.01)
    assert np.allclose(axes[1, 3].images[0].get_array(), 0.2, atol=0.01)
    assert overlapping(figure) == []


def test_refused() -> None:
    with pytest.raises(UserError, match="filters is empty"):
        layer_sheet([])
    with pytest.raises(UserError, match="different numbers of patches"):
        layer_sheet([seen("relu1", 0), seen("relu1", 1, patches=2)])
