"""What maps look like: by hand on maps of a few pixels."""

import math

import pytest
import torch

from xcnn.errors import UserError
from xcnn.metrics import edge_share, edges, extent, fine_detail, gini, share_above

ONE = torch.zeros(1, 4, 4).index_put((torch.tensor(0), torch.tensor(1), torch.tensor(2)), torch.tensor(3.0))
FLAT = torch.ones(1, 4, 4)


def test_share_above_looks_at_the_range() -> None:
    ramp = torch.arange(4.0).reshape(1, 2, 2)  # 0, 1/3, 2/3, 1 of the range
    assert share_above(ramp).item() == 0.5
    assert share_above(ramp, 0.7).item() == 0.25
    assert share_above(ramp * 5 - 100).item() == 0.5
    signed = torch.tensor([[[-1.0, 0.1], [0.1, 1.0]]])  # what is nearly 0 lies above the middle of the scale
    assert share_above(signed).item() == 0.75
    assert share_above(FLAT).isnan().all()


def test_gini_index() -> None:
    assert gini(FLAT).item() == pytest.approx(0)
    assert gini(ONE).item() == pytest.approx(1 - 1 / 16)
    # Half of the mean absolute difference of all pairs, over the mean
    values = torch.tensor([1.0, -2.0, 4.0, 7.0])
    pairs = (values.abs()[:, None] - values.abs()[None]).abs().mean() / (2 * values.abs().mean())
    assert gini(values.reshape(1, 2, 2)).item() == pytest.approx(pairs.item())
    assert gini(torch.zeros(1, 2, 2)).isnan().all()


def test_extent_is_a_distance_from_the_centre_of_mass() -> None:
    assert extent(FLAT).item() == pytest.approx(1)
    assert extent(ONE).item() == 0
    corners = torch.zeros(1, 4, 4)
    corners[0, 0, 0], corners[0, 3, 3] = 1, -1  # each 1.5 away along both sides; a constant map: 1.25 along each
    assert extent(corners).item() == pytest.approx(math.sqrt(4.5 / 2.5))
    shifted = torch.zeros(1, 4, 4)
    shifted[0, 0, :2] = 1  # half a pixel away along one side
    assert extent(shifted).item() == pytest.approx(math.sqrt(0.25 / 2.5))


def test_fine_detail_is_what_squares_hide() -> None:
    blocks = torch.tensor([[0.0, 1], [2, 5]]).repeat_interleave(2, 0).repeat_interleave(2, 1)[None]
    assert fine_detail(blocks, 2).item() == pytest.approx(0)
    checks = (torch.arange(4)[:, None] + torch.arange(4)) % 2
    assert fine_detail(checks[None].float(), 2).item() == pytest.approx(1)
    both = blocks + checks  # variances add: 3.5 between squares, 1/4 within
    assert fine_detail(both, 2).item() == pytest.approx(0.25 / (3.5 + 0.25))
    assert fine_detail(FLAT, 2).isnan().all()
    with pytest.raises(UserError, match="3 pixels do not divide"):
        fine_detail(FLAT, 3)


@pytest.mark.parametrize(("side", "eighth"), [(4, 2), (28, 4), (32, 4), (96, 12), (224, 28)])
def test_fine_detail_takes_the_nearest_divisor_to_an_eighth(side: int, eighth: int) -> None:
    maps = torch.rand(2, side, side, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(fine_detail(maps), fine_detail(maps, eighth))
    with pytest.raises(UserError, match="no square divides maps of"):
        fine_detail(maps[:, 1:])


def test_mass_on_edges() -> None:
    image = torch.zeros(1, 3, 8, 8)
    image[..., 4:] = 1  # an edge between columns 3 and 4
    assert (edges(image)[0, :, 3:5] == 4).all() and (edges(image)[0, :, :3] == 0).all()
    maps = torch.zeros(1, 8, 8)
    maps[..., 3] = -1
    maps[..., 0] = 3
    assert edge_share(maps, image, 0.25).item() == 0.25
    assert edge_share(torch.ones(1, 8, 8), image, 0.25).item() == 0.25
    with pytest.raises(UserError, match=r"\(1, 8, 8\) of images \(1, 3, 4, 4\)"):
        edge_share(maps, image[..., :4, :4])


def test_refusals() -> None:
    with pytest.raises(UserError, match="finite maps"):
        gini(torch.full((1, 2, 2), torch.nan))
    with pytest.raises(UserError, match="finite maps"):
        extent(torch.ones(2, 2))
    with pytest.raises(UserError, match="level is 1"):
        share_above(FLAT, 1)
    with pytest.raises(UserError, match="fraction is 0"):
        edge_share(FLAT, torch.ones(1, 3, 4, 4), 0)
