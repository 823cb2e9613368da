"""The control of the middle."""

import math

import pytest
import torch

from tests.attribution.networks import headed, network, pictures
from xcnn.attribution import Centre
from xcnn.errors import UserError


@pytest.mark.parametrize("spread", [0.25, 0.5])
def test_by_hand_whatever_the_picture(spread: float) -> None:
    """exp(-d^2 / 2 spread^2), distances in sides: the middles of 4 rows and 7 columns from the middle."""
    maps = Centre(headed("gap, linear"), "features", spread=spread)(pictures(2, 4, 7))
    for i, j in ((0, 0), (1, 3), (2, 5), (3, 6)):
        y, x = (i + 0.5) / 4 - 0.5, (j + 0.5) / 7 - 0.5
        assert maps[0, i, j].item() == pytest.approx(math.exp(-(x * x + y * y) / (2 * spread**2)), rel=1e-5)
    assert torch.equal(maps[0], maps[1])
    torch.testing.assert_close(maps, maps.flip(1, 2))
    assert maps[0].argmax() in (10, 17)  # column 3 of the middle rows


def test_size_of_the_layer() -> None:
    assert Centre(network("conv3"), "pool2")(pictures(1, 13, 21)).shape == (1, 3, 5)


def test_wrong_spread() -> None:
    with pytest.raises(UserError, match="spread must be above 0, not 0"):
        Centre(headed("gap, linear"), "features", spread=0)
