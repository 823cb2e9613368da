"""Intervals of maps by hand, and that as many values lie in them as they promise."""

import pytest
import torch
from scipy.stats import t

from xcnn.errors import UserError
from xcnn.evaluation.map_intervals import half_width, map_values, normalised


def test_half_width_is_students() -> None:
    maps = torch.tensor([1.0, 2.0, 6.0], dtype=torch.float64)[:, None, None, None].expand(3, 2, 4, 4)
    expected = torch.tensor([1.0, 2.0, 6.0]).std() / 3**0.5 * t.ppf(0.95, 2)
    torch.testing.assert_close(half_width(maps, 0.9), torch.full((2, 4, 4), float(expected), dtype=torch.float64))


def test_equal_maps_of_several_scales_are_sure_and_agree() -> None:
    generator = torch.Generator().manual_seed(0)
    one = torch.rand(2, 8, 8, generator=generator, dtype=torch.float64)
    found = map_values(torch.stack([one, 3 * one, 0.2 * one]), 0.95)
    torch.testing.assert_close(normalised(3 * one), normalised(one))
    assert (found["width"] < 1e-12).all() and (found["sure"] == 1).all()
    torch.testing.assert_close(found["agree"], torch.ones(2, dtype=torch.float64))


def test_prediction_intervals_hold_as_many_values_of_another_network_as_they_promise() -> None:
    generator = torch.Generator().manual_seed(1)
    maps = 5 + torch.randn(6, 3, 64, 64, generator=generator, dtype=torch.float64)
    for level in (0.5, 0.9):
        found = map_values(maps, level)
        assert found["covered"].mean() == pytest.approx(level, abs=0.02)
    assert found["agree"].abs().max() < 0.1 and found["sure"].mean() == pytest.approx(0.1, abs=0.03)


def test_refusals() -> None:
    with pytest.raises(UserError, match="2 networks are too few"):
        map_values(torch.rand(2, 1, 4, 4), 0.9)
    with pytest.raises(UserError, match="a level in"):
        map_values(torch.rand(3, 1, 4, 4), 1.0)
