"""What the grids of attribution maps show, read back from the figure and from its pixels."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from sklearn.datasets import load_sample_image

from tests.figures.drawn import at, overlapping, pixels
from xcnn.errors import UserError
from xcnn.figures import (
    HeatMapRow,
    explanation_grid,
    heat_map_grid,
    kept_grid,
    overlay,
    save_png,
    upscale,
)
from xcnn.figures.heat_maps import DIMMED, HEAT, OPACITY
from xcnn.figures.panels import BOX

GREY = torch.full((3, 224, 224), 128, dtype=torch.uint8)
METHODS = (
    "CAM",
    "Grad-CAM",
    "Grad-CAM++",
    "Score-CAM",
    "Ablation-CAM",
    "Ablation-CAM++",
    "Pixel Ablation-CAM",
    "Pixel Ablation-CAM, drop",
    "Pixel Ablation-CAM, author",
    "sum of activations",
    "centre",
    "random",
)


def corner(row: int, column: int) -> torch.Tensor:
    """A map that is hot in one corner: indices 0 or -1."""
    values = torch.zeros(7, 7)
    values[row, column] = 3.0
    return values


def hot_and_cold(grey: float) -> np.ndarray:
    ends = np.array([matplotlib.colormaps[HEAT](end)[:3] for end in (1.0, 0.0)])
    return OPACITY * ends + (1 - OPACITY) * grey


def picture(axes: Axes) -> np.ndarray:
    return np.moveaxis(np.asarray(axes.images[0].get_array()), -1, 0)


def test_overlay_blends_by_heat() -> None:
    drawn = overlay(torch.full((3, 50, 50), 0.4), corner(0, 0))
    hot, cold = hot_and_cold(0.4)
    np.testing.assert_allclose(drawn[:, 0, 0], hot, atol=1e-6)
    np.testing.assert_allclose(drawn[:, -1, -1], cold, atol=1e-6)
    for grey in (0.0, 0.4, 1.0):
        top = overlay(torch.full((3, 50, 50), grey), corner(0, 0))[:, 0]
        lightness = np.tensordot([0.299, 0.587, 0.114], top, 1)
        assert (np.diff(lightness) <= 1e-6).all()  # along the falling heat, never up, whatever the ground
    # The map's range does not matter, only its shape does; a constant one is cold, whatever its value.
    np.testing.assert_allclose(overlay(torch.full((3, 50, 50), 0.4), 100 * corner(0, 0) - 7), drawn, atol=1e-5)
    for value in (0.0, 5.0):
        flat = overlay(torch.full((3, 50, 50), 0.4), torch.full((7, 7), value))
        np.testing.assert_allclose(flat, np.broadcast_to(cold[:, None, None], flat.shape), atol=1e-6)


def test_overlay_keeps_the_picture_but_not_its_colours() -> None:
    left_red = torch.zeros(3, 224, 224)
    left_red[0, :, :112] = 1
    drawn = overlay(left_red, torch.zeros(7, 7))
    cold = [hot_and_cold(grey)[1] for grey in (0.299, 0.0)]
    np.testing.assert_allclose(drawn[:, 100, 20], cold[0], atol=1e-6)
    np.testing.assert_allclose(drawn[:, 100, 200], cold[1], atol=1e-6)


def test_heat_map_grid_is_hot_where_each_map_is() -> None:
    maps = {"b": corner(-1, -1), "a": corner(0, 0).numpy(), "upsampled": corner(0, -1).repeat_interleave(32, 0)}
    maps["upsampled"] = maps["upsampled"].repeat_interleave(32, 1)
    figure = heat_map_grid([HeatMapRow(GREY, "grey 0.50", maps)], ["a", "b", "upsampled"])
    drawn = pixels(figure)
    hot, cold = hot_and_cold(128 / 255)
    places = {(0, 0): (3, 3), (0, 1): (220, 3), (1, 0): (3, 220), (1, 1): (220, 220)}  # x, y
    for panel, warm in zip(figure.axes[1:4], ((0, 0), (1, 1), (0, 1)), strict=True):
        for place, (x, y) in places.items():
            np.testing.assert_allclose(at(drawn, panel, x, y), hot if place == warm else cold, atol=0.02)
    for x, y in places.values():
        np.testing.assert_allclose(at(drawn, figure.axes[0], x, y), 128 / 255, atol=0.01)


def test_heat_map_grid_says_what_is_what() -> None:
    rows = [
        HeatMapRow(GREY, "sea snake 0.80", {"Grad-CAM": corner(0, 0), "Ablation-CAM": torch.ones(7, 7)}, label="first"),
        HeatMapRow(GREY, "ski 0.97", {name: corner(0, 0) for name in METHODS}, notes={"Ablation-CAM": "kept 0.31"}),
    ]
    figure = heat_map_grid(rows, ["Grad-CAM", "Ablation-CAM"], "Two images")
    first, second, bar = figure.axes[:3], figure.axes[3:6], figure.axes[6]
    assert figure.get_suptitle() == "Two images"
    assert [axes.get_title() for axes in first] == ["image", "Grad-CAM", "Ablation-CAM"]
    assert [axes.get_xlabel() for axes in first] == ["sea snake 0.80", "", ""]
    assert [axes.get_xlabel() for axes in second] == ["ski 0.97", "", "kept 0.31"]
    assert [row[0].get_ylabel() for row in (first, second)] == ["first", ""]
    assert [[text.get_text() for text in axes.texts] for axes in (*first, *second)] == [
        [],
        [],
        ["constant"],
        [],
        [],
        [],
    ]
    assert [label.get_text() for label in bar.get_yticklabels()] == ["min", "max"]
    drawn = pixels(figure)
    for end, expected in zip((0.998, 0.002), hot_and_cold(0.5), strict=True):
        np.testing.assert_allclose(at(drawn, bar, 0.5, end), expected, atol=0.02)


@pytest.mark.parametrize("size", [32, 224])
def test_boxes_are_drawn_at_their_pixels(size: int) -> None:
    share = size / 224
    box = torch.tensor([[56.0, 84.0, 168.0, 196.0]]) * share
    image = GREY[:, :size, :size]
    kept = torch.ones(size, size, dtype=torch.bool)
    green = np.array(to_rgb(BOX))
    for figure in (
        heat_map_grid([HeatMapRow(image, "", {"a": corner(0, 0)}, box)], ["a"]),
        explanation_grid([HeatMapRow(image, "", {"a": kept}, box.numpy())], ["a"]),
        kept_grid([HeatMapRow(image, "", {"a": kept}, box)], ["a"]),
    ):
        drawn = pixels(figure)
        for axes in figure.axes[:2]:
            # Pixel i covers i - 1/2 to i + 1/2 on the axes, so that its left edge, which the box gives, is i - 1/2.
            for x, y in ((56, 140), (168, 140), (112, 84), (112, 196)):
                np.testing.assert_allclose(at(drawn, axes, x * share - 0.5, y * share - 0.5), green, atol=0.02)
            for x, y in ((62, 140), (162, 140), (112, 90), (50, 140), (174, 140), (112, 202)):
                assert np.abs(at(drawn, axes, x * share - 0.5, y * share - 0.5) - green).max() > 0.2


def test_a_box_over_the_edge_stays_on_the_image() -> None:
    figure = kept_grid([HeatMapRow(GREY, "", {"a": corner(0, 0).new_ones(224, 224)}, [[-50, 10, 300, 300]])], ["a"])
    assert (figure.axes[0].get_xlim(), figure.axes[0].get_ylim()) == ((-0.5, 223.5), (223.5, -0.5))
    assert all(edge.get_clip_on() for edge in figure.axes[0].collections if isinstance(edge, PolyCollection))


def test_explanations_keep_their_pixels() -> None:
    image = torch.randint(0, 256, (3, 224, 224), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    kept = torch.zeros(224, 224, dtype=torch.bool)
    kept[10:90, 100:200] = True
    soft = torch.linspace(0, 1, 224).expand(224, 224)
    row = HeatMapRow(
        image.permute(1, 2, 0).numpy(), "noise", {"hard": kept, "soft": soft.numpy()}, notes={"hard": "0.9"}
    )
    expected = image.numpy() / 255
    for draw, rest in ((explanation_grid, 0.0), (kept_grid, DIMMED)):
        axes = draw([row], ["hard", "soft"]).axes
        np.testing.assert_allclose(picture(axes[0]), expected, atol=1e-6)
        np.testing.assert_allclose(picture(axes[1]), np.where(kept, expected, rest * expected), atol=1e-6)
        weights = (rest + (1 - rest) * soft).numpy()
        np.testing.assert_allclose(picture(axes[2]), weights * expected, atol=1e-6)
        assert [cell.get_xlabel() for cell in axes] == ["noise", "0.9", ""]


def test_kept_regions_are_outlined() -> None:
    kept = torch.zeros(32, 32, dtype=torch.bool)
    kept[8:16, 4:24] = True
    figure = kept_grid([HeatMapRow(GREY[:, :32, :32], "", {"a": kept}, label="keep 16 %")], ["a"])
    assert figure.axes[0].get_ylabel() == "keep 16 %"
    drawn = pixels(figure)
    for x, y in ((3.5, 12), (23.5, 12), (14, 7.5), (14, 15.5)):
        np.testing.assert_allclose(at(drawn, figure.axes[1], x, y), 1, atol=0.05)
    np.testing.assert_allclose(at(drawn, figure.axes[1], 14, 12), 128 / 255, atol=0.01)
    np.testing.assert_allclose(at(drawn, figure.axes[1], 14, 25), DIMMED * 128 / 255, atol=0.01)


def test_images_of_unlike_shapes() -> None:
    wide = torch.zeros(3, 60, 120, dtype=torch.uint8)
    figure = heat_map_grid(
        [HeatMapRow(wide, "", {"a": torch.rand(4, 8)}), HeatMapRow(GREY, "", {"a": corner(0, 0)})], ["a"]
    )
    assert picture(figure.axes[1]).shape == (3, 224, 448)
    assert figure.axes[1].get_xlim() == (-0.5, 119.5)
    np.testing.assert_array_equal(picture(figure.axes[2]), upscale(GREY / 255))


def test_no_text_over_another() -> None:
    kept = torch.ones(224, 224, dtype=torch.bool)
    grid = [
        HeatMapRow(
            GREY,
            "German short-haired pointer 0.93, said to be a wire-haired pointing griffon",
            dict.fromkeys(METHODS[6:9], kept),
            notes=dict.fromkeys(METHODS, "IoU 0.69 · pointing 1 · in box 65 %"),
            label="several instances",
        )
    ] * 2
    for figure in (
        heat_map_grid(grid, METHODS[6:9], "Four methods"),
        kept_grid(grid[:1], METHODS[6:7]),
    ):
        assert overlapping(figure) == []


def test_the_same_bytes_again_and_few_of_them(tmp_path: Path) -> None:
    photograph = load_sample_image("china.jpg")[150:374, 200:424]
    row = HeatMapRow(
        photograph, "palace 0.50", dict.fromkeys(METHODS[4:8], corner(0, 0)), np.array([[20, 30, 90, 100]])
    )
    for name in ("a", "b"):
        save_png(heat_map_grid([row], METHODS[4:8]), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").stat().st_size < 600_000 / 4


def test_refusals() -> None:
    fine = {"a": corner(0, 0)}
    with pytest.raises(UserError, match="rows is empty"):
        heat_map_grid([], ["a"])
    with pytest.raises(UserError, match="methods is empty"):
        heat_map_grid([HeatMapRow(GREY, "ski", fine)], [])
    with pytest.raises(UserError, match="ski has no map of b, c; its maps are of a"):
        heat_map_grid([HeatMapRow(GREY, "ski", fine)], ["a", "b", "c"])
    with pytest.raises(UserError, match=r"\(3, 224, 224\) torch.float32"):
        heat_map_grid([HeatMapRow(GREY / 255, "ski", fine)], ["a"])
    with pytest.raises(UserError, match="finite"):
        heat_map_grid([HeatMapRow(GREY, "ski", {"a": torch.full((7, 7), torch.nan)})], ["a"])
    for kept in (torch.ones(7, 7), torch.full((224, 224), 2.0)):
        with pytest.raises(UserError, match="of the image's size"):
            explanation_grid([HeatMapRow(GREY, "ski", {"a": kept})], ["a"])


def test_grids_fit_a_printed_page() -> None:
    """180 mm wide, and no text below 7 points at that width, however many methods."""
    for n in (1, 4, 8):
        methods = METHODS[:n]
        notes = dict.fromkeys(methods, "keeps 0.17")
        rows = [HeatMapRow(GREY, "sea snake, confidence 0.80", dict.fromkeys(methods, corner(0, 0)), notes=notes)]
        figure = heat_map_grid(rows, methods, "Title")
        assert figure.get_figwidth() <= 180 / 25.4 + 1e-6
        texts = [text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text()]
        assert min(text.get_fontsize() for text in texts) >= 7
