"""Feature map metrics against values computed by hand, on a network whose maps and logits are its image's channels."""

import math

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from xcnn.metrics.feature_maps import feature_map_rows, feature_map_values, thinned_succinctness

FILTERS = {"first": 4, "second": 9}  # nine: more than a byte of live bits
NAN, INF = math.nan, math.inf


class Channels(nn.Module):
    """Channels 0-3 are the maps of `first`, 4-12 those of `second`; two logits lie in the first row of channel 13."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Identity(), nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        self.first(images[:, :4])
        self.second(images[:, 4:13])
        return images[:, 13, 0, :2]


def three_images() -> Tensor:
    images = torch.zeros(3, 14, 4, 4)
    images[0, 0, 0, 0] = 2
    images[0, 1, 0, [0, 3]] = 1
    images[0, 1, 1, 1] = 0.05  # below a tenth of the maximum: not in the mask
    images[0, 2, 0, 0], images[0, 2, 3, 3] = 4, 1
    images[0, 12, 1, 2] = 3
    images[1, 4] = 1
    images[1, 12, 0, 0] = 1
    images[2, 0, 2, 2] = 1
    images[:, 13, 0, :2] = torch.tensor([[3.0, 1], [1, 4], [1, 3]]).log()
    return images


LABELS = torch.tensor([0, 0, 1])
# A uniform map: the centres 1/8, 3/8, 5/8, 7/8 have variance 5/64 along each side.
UNIFORM = math.sqrt(10 / 64)
# One entry per image. Image 0 of `first`: three masks meet at one corner, C = 3, and reach one further cell each.
EXPECTED: dict[str, list[float]] = {
    "label": [0, 0, 1],
    "predicted": [0, 1, 1],
    "confidence": [3 / 4, 4 / 5, 3 / 4],
    "area.first": [5 / 48, NAN, 1 / 16],
    "area.second": [1 / 16, 17 / 32, NAN],
    "area_all.first": [5 / 64, 0, 1 / 64],
    "area_all.second": [1 / 144, 17 / 144, 0],
    "dispersion_all.first": [0.375 * (1 + math.sqrt(2)) / 4, 0, 0],
    "dispersion_all.second": [0, UNIFORM / 9, 0],
    "dispersion.first": [(0.375 + 0.375 * math.sqrt(2)) / 3, NAN, 0],
    "dispersion.second": [0, UNIFORM / 2, NAN],
    "silent.first": [1 / 4, 1, 3 / 4],
    "silent.second": [8 / 9, 7 / 9, 1],
    "succinctness.first": [7 / 9, NAN, 1],
    "succinctness.second": [1, 1, NAN],
    "count_inside.first": [3 / 5, NAN, 1],
    "count_inside.second": [1, 1, NAN],
    "count_inside_to_outside.first": [3 / 2, NAN, INF],
    "count_inside_to_outside.second": [INF, INF, NAN],
    "black_positions.first": [13 / 16, NAN, 15 / 16],
    "black_positions.second": [15 / 16, 0, NAN],
    "black_pixels.first": [1 - 5 / 64, NAN, 1 - 1 / 64],
    "black_pixels.second": [1 - 1 / 144, 1 - 17 / 144, NAN],
    "covered_once.first": [2 / 3, NAN, 1],
    "covered_once.second": [1, 15 / 16, NAN],
}
LIVE = {"live.first": [b"\xe0", b"\x00", b"\x80"], "live.second": [b"\x00\x80", b"\x80\x80", b"\x00\x00"]}


def rows(images: Tensor | None = None, labels: Tensor = LABELS, threshold: float = 0.1) -> pd.DataFrame:
    return feature_map_rows(Channels(), list(FILTERS), three_images() if images is None else images, labels, threshold)


def test_rows_are_the_values_computed_by_hand() -> None:
    found = rows()
    assert set(found) == EXPECTED.keys() | LIVE.keys()
    for name, values in EXPECTED.items():
        assert found[name].tolist() == pytest.approx(values, abs=1e-6, nan_ok=True), name
    for name, bits in LIVE.items():
        assert found[name].tolist() == bits, name


def test_the_threshold_is_that_of_the_masks() -> None:
    found = rows(threshold=0.01)  # the cell of 0.05 is in the mask now, and W gains it
    assert found["area.first"][0] == pytest.approx(6 / 48)
    assert found["succinctness.first"][0] == pytest.approx(7 / 9.05)


def test_the_succinctness_is_measured_for_each_pair_of_settings() -> None:
    settings = {"thresholds": (0.01, 0.1), "count_shares": (0.3, 0.5, 1)}
    found = feature_map_rows(Channels(), list(FILTERS), three_images(), LABELS, **settings)
    assert set(found) - set(rows()) == {
        f"succinctness@{t}/{share}.{layer}" for t in (0.01, 0.1) for share in (0.3, 0.5, 1) for layer in FILTERS
    }
    name = "succinctness@{}.first"
    pd.testing.assert_series_equal(found[name.format("0.1/0.5")], found["succinctness.first"], check_names=False)
    assert found[name.format("0.1/0.3")].tolist() == pytest.approx([1, NAN, 1], nan_ok=True)  # counts 3, 1, 1: all in P
    assert found[name.format("0.01/0.5")][0] == pytest.approx(7 / 9.05)
    values = feature_map_values(found, FILTERS)
    assert values["succinctness@0.1/0.5.first"] == values["succinctness.first"]
    # Of `second`, image 1 has weight 2 where its two filters meet, and 17 in all.
    assert values["succinctness@0.1/1"] == pytest.approx((8 / 9 + (1 + 2 / 17) / 2) / 2)


def test_chunks_have_the_rows_of_the_whole() -> None:
    generator = torch.Generator().manual_seed(1)
    images = (torch.randn(10, 14, 4, 4, generator=generator) - 1).relu()
    labels = torch.arange(10) % 2
    chunks = [rows(images[part], labels[part]) for part in (slice(0, 4), slice(4, 8), slice(8, 10))]
    pd.testing.assert_frame_equal(pd.concat(chunks, ignore_index=True), rows(images, labels))


def test_values_are_means_over_the_images_on_which_they_are_defined() -> None:
    values = feature_map_values(rows(), FILTERS)
    expected = {
        "accuracy": 2 / 3,
        "area.first": (5 / 48 + 1 / 16) / 2,
        "area.second": (1 / 16 + 17 / 32) / 2,
        "area_all.first": (5 + 1) / 64 / 3,
        "area_all.second": (1 + 17) / 144 / 3,
        "dispersion_all.first": 0.375 * (1 + math.sqrt(2)) / 12,
        "dispersion_all.second": UNIFORM / 27,
        "dispersion.first": 0.375 * (1 + math.sqrt(2)) / 6,
        "dispersion.second": UNIFORM / 4,
        "silent.first": 2 / 3,
        "silent.second": 8 / 9,
        "succinctness.first": 8 / 9,
        "succinctness.second": 1,
        "count_inside.first": 4 / 5,
        "count_inside.second": 1,
        "count_inside_to_outside.first": 4,  # of the mean share 4/5; the mean of the images' ratios is infinite
        "count_inside_to_outside.second": INF,
        "black_positions.first": 7 / 8,
        "black_positions.second": 15 / 32,
        "black_pixels.first": 1 - 3 / 64,
        "black_pixels.second": 1 - 1 / 16,
        "covered_once.first": 5 / 6,
        "covered_once.second": 31 / 32,
        "undefined.first": 1 / 3,
        "undefined.second": 1 / 3,
        "dead.first": 1 / 4,  # three filters fire on image 0, the fourth on none
        "dead.second": 7 / 9,  # one fires on image 1, another on images 0 and 1
        "dead": 8 / 13,
    }
    over_layers = {name.split(".")[0] for name in expected if "." in name} - {"dead", "undefined"}
    expected |= {name: (expected[f"{name}.first"] + expected[f"{name}.second"]) / 2 for name in over_layers}
    assert values == pytest.approx(expected, abs=1e-6)


def test_a_filter_is_dead_only_if_no_image_brings_it_to_life() -> None:
    images = torch.zeros(4, 14, 4, 4)
    for index in range(4):
        images[index, index, index, index] = 1  # each image wakes another filter of `first`
    found = rows(images, torch.zeros(4, dtype=torch.int64))
    assert found["silent.first"].tolist() == [0.75] * 4
    values = feature_map_values(found, FILTERS)
    assert (values["dead.first"], values["dead.second"], values["dead"]) == (0, 1, 9 / 13)


def test_a_layer_that_is_dead_on_every_image_has_no_values() -> None:
    images = three_images()
    images[:, 4:13] = 0
    values = feature_map_values(rows(images), FILTERS)
    assert values["dead.second"] == values["undefined.second"] == values["silent.second"] == 1
    undefined = {name for name, value in values.items() if math.isnan(value)}
    per_image = {name.split(".")[0] for name in EXPECTED if "." in name} - {"silent", "area_all", "dispersion_all"}
    assert undefined == per_image | {f"{name}.second" for name in per_image}


# Filters drawn at random


def four_live_filters(n: int = 1) -> Tensor:
    """Bytes. On the first image of `first`, filter k has a weight of 50 at a common corner and 10 (k + 1) elsewhere."""
    images = torch.zeros(n, 14, 4, 4, dtype=torch.uint8)
    for k in range(4):
        images[0, k, 0, 0], images[0, k, 3, k] = 50, 10 * (k + 1)
    images[:, 4] = 7
    return images


def test_all_filters_kept_give_the_networks_own_succinctness() -> None:
    generator = torch.Generator().manual_seed(2)
    images = torch.randint(0, 256, (600, 14, 4, 4), dtype=torch.uint8, generator=generator)  # more than a batch
    images[torch.rand(600, 14, generator=generator) < 0.4] = 0
    images[torch.rand(600, 14, 4, 4, generator=generator) < 0.7] = 0
    images[5] = 0  # no filter fires
    own = feature_map_values(rows(images / 255, torch.zeros(600, dtype=torch.int64)), FILTERS)
    thinned = thinned_succinctness(Channels(), dict.fromkeys(FILTERS, 1.0), images, draws=2, seed=0)
    assert 0.5 < own["succinctness.second"] < 0.99
    expected = {"thinned" + name: own["succinctness" + name] for name in (".first", ".second", "")}
    assert thinned == pytest.approx(expected, abs=1e-6)


def test_a_single_filter_is_wholly_succinct() -> None:
    """Its count is 1 on all of its mask, so P is the mask; images on which it is silent are left out."""
    thinned = thinned_succinctness(Channels(), {"first": 0.25}, four_live_filters(n=3), draws=5, seed=0)
    assert thinned == {"thinned.first": 1, "thinned": 1}


def subsets() -> list[float]:
    """Three of the four filters: P is the corner where all meet, and holds 150; the one left out has 10 (k + 1)."""
    return [150 / (150 + 100 - 10 * (k + 1)) for k in range(4)]


def test_each_draw_is_one_of_the_subsets_and_their_mean_that_of_all() -> None:
    images = four_live_filters(n=2)
    singles = [
        thinned_succinctness(Channels(), {"first": 0.75}, images, draws=1, seed=seed)["thinned.first"]
        for seed in range(20)
    ]
    nearest = [min(range(4), key=lambda k: abs(subsets()[k] - value)) for value in singles]
    assert singles == pytest.approx([subsets()[k] for k in nearest], abs=1e-6)
    assert set(nearest) == {0, 1, 2, 3}  # different seeds, different filters
    many = thinned_succinctness(Channels(), {"first": 0.75}, images, draws=400, seed=0)["thinned.first"]
    assert many == pytest.approx(sum(subsets()) / 4, abs=0.005)  # their standard deviation is 0.029


def test_the_draws_follow_the_seed() -> None:
    draw = [
        thinned_succinctness(Channels(), {"first": 0.75}, four_live_filters(), draws=3, seed=seed)["thinned"]
        for seed in (0, 0, 1, 2)
    ]
    assert draw[0] == draw[1] and len(set(draw)) > 1


def test_dead_filters_are_never_drawn_and_all_live_ones_are_kept_where_there_are_fewer() -> None:
    images = four_live_filters()
    images[0, 4:8] = images[0, :4].clone()  # four live filters among the nine of `second`
    share = 4 / 9
    thinned = thinned_succinctness(Channels(), {"second": share}, images, draws=3, seed=1)
    assert thinned["thinned.second"] == pytest.approx(200 / 300, abs=1e-6)
    more = thinned_succinctness(Channels(), {"second": 7 / 9}, images, draws=3, seed=1)
    assert more == thinned


def test_without_a_live_filter_there_is_no_ratio() -> None:
    images = torch.zeros(2, 14, 4, 4, dtype=torch.uint8)
    assert math.isnan(thinned_succinctness(Channels(), {"first": 0.5}, images, draws=2, seed=0)["thinned"])
