"""Localisation against hand-computed values."""

import pytest
import torch

from xcnn.errors import UserError
from xcnn.metrics import energy_inside, iou, pointing_game

MASK = torch.tensor([[[True, True, False, False]] * 2 + [[False] * 4] * 2])  # the top left 2 x 2 of 4 x 4


def map_(*rows: list[float]) -> torch.Tensor:
    return torch.tensor([rows], dtype=torch.float64)


def test_energy_by_hand_at_the_masks_own_size() -> None:
    maps = map_([3, 0, 1, 0], [0, 1, 0, 0], [0, 0, 2, 0], [1, 0, 0, 0])
    assert energy_inside(maps, MASK).tolist() == [pytest.approx(4 / 8)]


def test_energy_after_bilinear_upsampling() -> None:
    # [1, 0] doubled without aligned corners is [1, .75, .25, 0]; the outer product of two of them is the map.
    maps = map_([1, 0], [0, 0])
    assert energy_inside(maps, MASK).tolist() == [pytest.approx((1.75 / 2) ** 2)]


def test_negative_values_carry_no_energy() -> None:
    maps = map_([1, 0, 0, -9], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1])
    assert energy_inside(maps, MASK).tolist() == [pytest.approx(0.5)]


def test_dead_map() -> None:
    maps = torch.zeros(1, 4, 4)
    assert energy_inside(maps, MASK).isnan().all()
    assert pointing_game(maps, MASK).tolist() == [0.25]  # every pixel is tied: the mask's share of them
    assert iou(maps, MASK).tolist() == [0]
    assert iou(maps, torch.zeros_like(MASK)).isnan().all()


def test_pointing_game_hit_miss_and_tie_in_one_batch() -> None:
    hit = map_([0, 5, 1, 0], [0, 0, 0, 0], [0, 0, 4, 0], [0, 0, 0, 0])
    miss = map_([0, 4, 1, 0], [0, 0, 0, 0], [0, 0, 5, 0], [0, 0, 0, 0])
    tie = map_([5, 0, 5, 0], [0, 0, 0, 5], [0, 0, 1, 0], [0, 0, 0, 0])
    scores = pointing_game(torch.cat([hit, miss, tie]), MASK.expand(3, 4, 4))
    assert scores.tolist() == [1, 0, pytest.approx(1 / 3)]


@pytest.mark.parametrize("size", [3, 5, 7])
def test_interpolation_does_not_break_a_tie(size: int) -> None:
    maps = torch.full((1, size, size), 0.1)
    mask = torch.zeros(1, 32, 32, dtype=torch.bool)
    mask[:, :8] = True
    assert pointing_game(maps, mask).tolist() == [0.25]


def test_iou_by_hand() -> None:
    # Above 0.15 * 10: the 10, the 2 and the 4; two of them inside; the union is 4 + 1.
    maps = map_([10, 2, 1.5, 0], [1, 0, 0, 0], [0, 0, 4, 0], [0, 0, 0, 0])
    assert iou(maps, MASK).tolist() == [pytest.approx(2 / 5)]
    assert iou(maps, MASK, threshold=0.5).tolist() == [pytest.approx(1 / 4)]


def test_scale_does_not_matter_and_dtype_follows() -> None:
    maps = torch.rand(5, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    masks = torch.rand(5, 32, 32, generator=torch.Generator().manual_seed(1)) > 0.5
    for measure in (energy_inside, pointing_game, iou):
        torch.testing.assert_close(measure(maps * 1e3, masks), measure(maps, masks))
        assert measure(maps, masks).dtype == torch.float64
        assert measure(maps.half(), masks).dtype == torch.float32


@pytest.mark.parametrize(
    ("maps", "masks", "message"),
    [
        (torch.ones(2, 4, 4), MASK, "pass maps"),
        (torch.ones(1, 1, 4, 4), MASK, "pass maps"),
        (torch.ones(1, 4, 4), MASK.float(), "booleans"),
        (torch.full((1, 4, 4), float("nan")), MASK, "NaN"),
    ],
)
def test_refusals(maps: torch.Tensor, masks: torch.Tensor, message: str) -> None:
    for measure in (energy_inside, pointing_game, iou):
        with pytest.raises(UserError, match=message):
            measure(maps, masks)


def test_threshold_is_a_share() -> None:
    with pytest.raises(UserError, match=r"\[0, 1\)"):
        iou(torch.ones(1, 4, 4), MASK, threshold=1.0)
