"""Succinctness of small maps worked out by hand."""

import math

import pytest
import torch

from xcnn.filters import succinctness, succinctness_alternatives, succinctness_grid, succinctness_per_image


def _maps(*filters: list[float]) -> torch.Tensor:
    """One image of 2 x 2 maps."""
    return torch.tensor(filters, dtype=torch.float64).view(1, -1, 2, 2)


# Masks 1110, 1100, 1000 and none (dead): C = 3 2 1 0, P = {0, 1} (at least 1.5), W = 18 8 2 0.
NESTED = _maps([8, 4, 2, 0.5], [8, 4, 0, 0], [2, 0.1, 0.2, 0], [0, 0, 0, 0])


def test_by_hand() -> None:
    ratios = {name: ratio.item() for name, ratio in succinctness_per_image(NESTED).items()}
    assert ratios == pytest.approx(
        {
            "succinctness": 26 / 28,
            "count_inside": 5 / 6,
            "count_inside_to_outside": 5,
            "black_positions": 1 / 4,
            "black_pixels": 10 / 16,
            "covered_once": 1 / 3,
        }
    )


def test_threshold_and_count_share() -> None:
    assert succinctness(NESTED, threshold=0.05) == pytest.approx(28.2 / 28.7)  # masks 1111, 1100, 1010: C = 3 2 2 1
    assert succinctness(NESTED, count_share=1.0) == pytest.approx(18 / 28)
    assert succinctness(NESTED, count_share=0.0) == 1


def test_the_grid_has_each_pair_of_settings() -> None:
    """By hand for the nested maps; for a batch, each pair alone, and NaN where no filter fires."""
    grid = succinctness_grid(NESTED, [0.05, 0.1], [0.25, 0.5, 1.0])
    # t = 0.05: masks 1111, 1100, 1010, so C = 3 2 2 1 and W = 18 8 2.2 0.5. t = 0.1: C = 3 2 1 0 and W = 18 8 2 0.
    by_hand = [[1, 28.2 / 28.7, 18 / 28.7], [1, 26 / 28, 18 / 28]]
    assert grid[:, :, 0].tolist() == [pytest.approx(row) for row in by_hand]
    maps = torch.rand(5, 7, 6, 6, generator=torch.Generator().manual_seed(0)) ** 4
    maps[3] = 0
    thresholds, shares = (0.05, 0.3), (0.25, 0.6, 0.9)
    found = succinctness_grid(maps, thresholds, shares)
    assert found.shape == (2, 3, 5) and found.dtype == torch.float32
    assert found.isnan().any(0).any(0).tolist() == [False, False, False, True, False]
    for t, threshold in enumerate(thresholds):
        for s, share in enumerate(shares):
            alone = succinctness_per_image(maps, threshold, share)["succinctness"]
            torch.testing.assert_close(found[t, s], alone, equal_nan=True)


def test_one_filter_and_disjoint_filters_are_wholly_succinct() -> None:
    assert succinctness(_maps([3, 1, 0, 0])) == 1
    disjoint = succinctness_alternatives(_maps([3, 0, 0, 0], [0, 0, 0, 5]))
    assert disjoint["covered_once"] == 1 and disjoint["black_positions"] == 0.5
    assert math.isinf(disjoint["count_inside_to_outside"]) and disjoint["excluded"] == 0


def test_images_without_activation_are_left_out_and_counted() -> None:
    batch = torch.cat([NESTED, torch.zeros_like(NESTED), _maps(*[[1.0, 0, 0, 0]] * 4)])
    per_image = succinctness_per_image(batch)
    for ratios in per_image.values():
        assert ratios.isnan().tolist() == [False, True, False]
    assert succinctness(batch) == pytest.approx((26 / 28 + 1) / 2)
    alternatives = succinctness_alternatives(batch)
    assert alternatives["excluded"] == 1
    assert alternatives["count_inside"] == pytest.approx((5 / 6 + 1) / 2)
    assert math.isnan(succinctness(batch[1:2]))


def test_rescaling_a_map_changes_no_count() -> None:
    scaled = NESTED * torch.tensor([128.0, 1, 1 / 64, 1])[:, None, None]
    before, after = succinctness_per_image(NESTED), succinctness_per_image(scaled)
    for name in set(before) - {"succinctness"}:
        assert torch.equal(before[name], after[name])


def test_half_precision_is_summed_in_single() -> None:
    maps = torch.rand(2, 64, 16, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    ratios = succinctness_per_image(maps)["succinctness"]
    assert ratios.dtype == torch.float32
    torch.testing.assert_close(ratios, succinctness_per_image(maps.double())["succinctness"].float(), atol=2e-3, rtol=0)
