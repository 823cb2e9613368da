"""Localisation against hand-computed values."""

import pytest
import torch

from xcnn.errors import UserError
from xcnn.metrics import energy_inside, iou, pointing_game, top_fraction_overlap

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


def test_nothing_to_find_is_undefined() -> None:
    maps, masks = torch.rand(2, 4, 4), torch.cat([MASK, torch.zeros_like(MASK)])
    overlap = top_fraction_overlap(maps, masks, 0.5)
    for scores in (energy_inside(maps, masks), pointing_game(maps, masks), iou(maps, masks), *overlap):
        assert scores.isnan().tolist() == [False, True]


@pytest.mark.parametrize(("tolerance", "hits"), [(0, [0, 0, 0]), (1, [1, 0, 0]), (1.5, [1, 1, 0]), (2, [1, 1, 1])])
def test_pointing_game_within_a_distance(tolerance: float, hits: list[float]) -> None:
    # The mask's last pixel is (1, 1); the maxima are at (2, 1), (2, 2) and (1, 3), 1, 1.41 and 2 pixels away.
    maps = torch.zeros(3, 4, 4)
    for one, at in zip(maps, [(2, 1), (2, 2), (1, 3)], strict=True):
        one[at] = 1
    assert pointing_game(maps, MASK.expand(3, 4, 4), tolerance).tolist() == hits


def test_tolerance_against_every_pair_of_pixels() -> None:
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(6, 24, 30, generator=generator) > 0.995
    masks[:, 12, 15] = True
    maps = torch.rand(6, 24, 30, generator=generator)
    for one, mask, hit in zip(maps, masks, pointing_game(maps, masks, 6), strict=True):
        peak = torch.nonzero(one == one.max()).float()
        assert bool(hit) == bool(torch.cdist(peak, torch.nonzero(mask).float()).min() <= 6)


def test_top_fraction_by_hand() -> None:
    # The four best of 16 are 9, 8, 7 and 6: two of them inside, of 4 in the mask.
    maps = map_([9, 0, 8, 0], [0, 7, 6, 0], [5, 4, 0, 0], [0, 0, 0, 0])
    precision, recall, overlap = top_fraction_overlap(maps, MASK, 0.25)
    assert (precision.item(), recall.item(), overlap.item()) == (0.5, 0.5, pytest.approx(2 / 6))
    precision, recall, overlap = top_fraction_overlap(maps, MASK, 1.0)
    assert (precision.item(), recall.item(), overlap.item()) == (0.25, 1, 0.25)


def test_top_fraction_is_exact_under_ties() -> None:
    everywhere = torch.ones(2, 7, 7, dtype=torch.bool)
    for fraction, n in ((0.2, 10), (0.21, 10), (0.5, 24), (1.0, 49)):
        assert (
            top_fraction_overlap(torch.zeros(2, 3, 3), everywhere, fraction).recall.tolist()
            == [pytest.approx(n / 49)] * 2
        )
    with pytest.raises(UserError, match=r"\(0, 1\]"):
        top_fraction_overlap(torch.zeros(2, 3, 3), everywhere, 0)


def test_tolerance_is_a_distance() -> None:
    with pytest.raises(UserError, match="0 or more"):
        pointing_game(torch.ones(1, 4, 4), MASK, tolerance=float("nan"))
