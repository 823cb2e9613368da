"""Winograd's transform against the convolution itself."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from xcnn.models.graph import patch_change
from xcnn.models.graph.changes import Change
from xcnn.models.graph.regions import Regions, Window
from xcnn.models.graph.winograd import tiles, winograd

TOP, LEFT = torch.tensor([0, 2, 4, 9]), torch.tensor([10, 3, 0, 6])


def drawn(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Maps of zeros but for what changes, (4, 5, 14, 13), and a filter."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.zeros(4, 5, 14, 13, dtype=torch.float64)
    for patch, top, left in zip(maps, TOP.tolist(), LEFT.tolist(), strict=True):
        patch[:, top : top + 5, left : left + 3] = torch.randn(5, 5, 3, generator=generator, dtype=torch.float64)
    return maps.to(dtype), torch.randn(7, 5, 3, 3, generator=generator, dtype=torch.float64).to(dtype)


def changed(maps: Tensor) -> Change:
    image = torch.arange(4)
    new = torch.stack([m[:, t : t + 5, w : w + 3] for m, t, w in zip(maps, TOP.tolist(), LEFT.tolist(), strict=True)])
    return patch_change(torch.zeros_like(maps), image, TOP, LEFT, new)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-13), (torch.float32, 1e-5)])
@pytest.mark.parametrize("padding", [(1, 1), (0, 2)])
def test_the_convolution(dtype: torch.dtype, error: float, padding: tuple[int, int]) -> None:
    """At the borders and inside, with fewer and more places than a tile has."""
    maps, weight = drawn(dtype)
    expected = F.conv2d(maps, weight, padding=padding)
    change = changed(maps)
    size = (expected.shape[2], expected.shape[3])
    regions = Window((3, 3), (1, 1), padding, (1, 1)).reached(change.regions, size)
    assert regions.height.max() > 4
    found = Change(regions, winograd(change, regions, weight, padding)).maps(7)
    assert (found - expected).abs().max() < error * expected.abs().max()


def test_tiles_by_hand() -> None:
    regions = Regions((9, 9), torch.tensor([0, 0]), torch.tensor([2, 0]), *torch.tensor([[1, 3], [7, 0], [4, 5]]))
    assert tiles(regions).height.tolist() == [2, 0] and tiles(regions).width.tolist() == [1, 2]
    empty = Regions((9, 9), torch.tensor([0]), *torch.tensor([[2], [1], [0], [0]]))
    change = Change(empty, torch.zeros(0, 5))
    assert winograd(change, empty, torch.zeros(7, 5, 3, 3), (1, 1)).shape == (0, 7)
