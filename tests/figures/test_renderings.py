"""Renderings against values computed by hand."""

import numpy as np
import pytest
import torch

from xcnn.errors import UserError
from xcnn.figures import encircled, evidence_pictures, heat, proportionate, upscale
from xcnn.figures.renderings import LINE, encircle

GREY = torch.full((3, 32, 32), 0.5)
RAMP = np.array([0, 0.25, 0.75, 1])  # [0, 1] doubled bilinearly without aligned corners


def drawn_on(rendered: np.ndarray, image: torch.Tensor) -> np.ndarray:
    """Where a rendering differs from the upscaled image, (H, W)."""
    return (rendered != upscale(image)).any(0)


def test_upscale_is_bilinear() -> None:
    image = torch.tensor([[0.0, 1.0], [0.0, 1.0]]).expand(3, 2, 2)
    np.testing.assert_allclose(upscale(image, 4), np.broadcast_to(RAMP, (3, 4, 4)))


def test_upscale_keeps_the_aspect() -> None:
    assert upscale(np.zeros((3, 10, 20))).shape == (3, 224, 448)


@pytest.mark.parametrize(("shape", "size"), [((7, 7), (224, 224)), ((32, 48), (224, 336)), ((300, 260), (258, 224))])
def test_values_are_interpolated_as_torch_does(shape: tuple[int, int], size: tuple[int, int]) -> None:
    image = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.interpolate(image[None], size=size, mode="bilinear")[0]
    np.testing.assert_allclose(upscale(image), expected, atol=1e-4)  # torch computes places in float32


def test_the_pictures_are_the_same_whatever_the_threads_and_the_last_digits_of_the_map() -> None:
    """On grey, 255 * 0.5 + 0.5 is whole, so that a rounding error anywhere would show."""
    generator = torch.Generator().manual_seed(0)
    activation = torch.rand(8, 8, generator=generator).sub(0.5).relu() * 3
    noisy = activation * (1 + 1e-6 * torch.randn(8, 8, generator=generator))
    threads = torch.get_num_threads()
    drawn = []
    for number, shown in ((1, activation), (3, activation), (1, noisy)):
        torch.set_num_threads(number)
        drawn.append(evidence_pictures(GREY, shown))
    torch.set_num_threads(threads)
    for other in drawn[1:]:
        np.testing.assert_array_equal(other, drawn[0])


def test_heat_is_min_max_normalised() -> None:
    np.testing.assert_allclose(heat(torch.tensor([[2.0, 6.0], [2.0, 6.0]]), 4), np.tile(RAMP, (4, 1)))
    # A lone peak upsamples to (3/4)^2 at most and is stretched to 1.
    peak = heat(np.array([[1.0, 0.0], [0.0, 0.0]]), 4)
    np.testing.assert_allclose(peak[0], [1, 0.75, 0.25, 0])
    assert heat(torch.rand(8, 8), 224).max() == 1


@pytest.mark.parametrize(("value", "expected"), [(0.0, 0.0), (0.1, 1.0), (1e-20, 1.0), (1e4, 1.0)])
def test_heat_of_a_constant_map(value: float, expected: float) -> None:
    assert (heat(torch.full((7, 7), value), 224) == expected).all()


def test_proportionate_is_image_times_heat() -> None:
    ramp = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    image = torch.stack([torch.full((2, 2), value) for value in (1.0, 0.5, 0.0)])
    rendered = proportionate(image, ramp, 4)
    np.testing.assert_allclose(rendered, np.array([1, 0.5, 0])[:, None, None] * np.tile(RAMP, (3, 4, 1)))


def test_encircle_pixel_by_pixel() -> None:
    region = np.zeros((9, 9), dtype=bool)
    region[4, 4] = True
    image = np.full((3, 9, 9), 0.5, dtype=np.float32)
    drawn = encircle(image, region)
    # Distances from the pixel: up to 2 the line, up to 3 its casing, beyond it the image.
    legend = {"0": (0.5,) * 3, "l": LINE, "c": (0.0,) * 3}
    quarter = ("0llc0", "llc00", "lcc00", "c0000", "00000")  # down and right of the pixel
    for dy, row in enumerate(quarter):
        for dx, code in enumerate(row):
            np.testing.assert_allclose(drawn[:, 4 + dy, 4 + dx], legend[code], rtol=1e-6, err_msg=f"{dy}, {dx}")
            np.testing.assert_array_equal(drawn[:, 4 - dy, 4 - dx], drawn[:, 4 + dy, 4 + dx])
    assert (image == 0.5).all()


def test_contour_surrounds_the_region_and_leaves_it() -> None:
    activation = torch.zeros(8, 8)
    activation[2:5, 3:6] = 1
    changed = drawn_on(encircled(GREY, activation), GREY)
    assert not changed[70:126, 98:154].any()  # well within the 3 x 3 cells of 28 px
    assert not changed[:40].any() and not changed[160:].any()
    # From the middle outwards each straight line meets line and casing: 2 + 1 px.
    middle = (98, 126)
    for ray in (changed[: middle[0], middle[1]], changed[middle[0] :, middle[1]], changed[middle[0], : middle[1]]):
        assert ray.sum() == 3


def test_threshold_is_a_share_of_the_maximum() -> None:
    activation = torch.arange(8.0).expand(8, 8)
    left_edges = [
        drawn_on(encircled(GREY, activation * scale, threshold=threshold), GREY)[100].nonzero()[0].max()
        for threshold, scale in ((0.25, 1), (0.5, 1), (0.5, 100), (0.75, 1))
    ]
    # Heat runs from 0 at 14 px to 1 at 210 px; the line ends just left of the threshold's place.
    assert left_edges == pytest.approx([14 + 49, 112, 112, 210 - 49], abs=2)
    assert left_edges[1] == left_edges[2]


def test_smoothing_closes_small_holes() -> None:
    activation = torch.ones(32, 32)
    activation[16, 16] = 0
    activation[:, :4] = 0
    hole = np.s_[100:130, 100:130]
    assert drawn_on(encircled(GREY, activation, sigma=0.1), GREY)[hole].any()
    assert not drawn_on(encircled(GREY, activation, sigma=8), GREY)[hole].any()


@pytest.mark.parametrize("value", [0.0, 0.1])
def test_nothing_is_encircled_on_dead_and_on_constant_maps(value: float) -> None:
    assert not drawn_on(encircled(GREY, torch.full((7, 7), value)), GREY).any()


def test_literal_reading_thresholds_heat_times_image() -> None:
    image = torch.zeros(3, 32, 32)
    image[:, :, 16:] = 0.4
    changed = drawn_on(encircled(image, torch.ones(8, 8), literal=True), image)
    assert changed[:, 105:112].any(1).all()  # along the edge at 112 px, since the relative threshold ignores brightness
    assert not changed[:, :105].any() and not changed[:, 115:].any()
    assert not drawn_on(encircled(image, torch.zeros(8, 8), literal=True), image).any()


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_contour_shows_on_any_ground(level: float) -> None:
    image = torch.full((3, 32, 32), level)
    activation = torch.zeros(8, 8)
    activation[3:5, 3:5] = 1
    contrast = np.abs(encircled(image, activation) - level).max(0)
    assert (contrast >= 0.5).sum() > 300


def test_refusals() -> None:
    with pytest.raises(UserError, match=r"\(3, H, W\)"):
        upscale(torch.zeros(1, 8, 8))
    with pytest.raises(UserError, match=r"\[0, 1\]"):
        upscale(torch.full((3, 8, 8), 255.0))
    with pytest.raises(UserError, match=r"\(h, w\)"):
        heat(torch.zeros(1, 8, 8))
    with pytest.raises(UserError, match="finite"):
        heat(torch.full((8, 8), float("nan")))
