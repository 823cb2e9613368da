"""What the sheets of prototypes show, read back from the figure and from its pixels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from tests.figures.drawn import at, overlapping, pixels
from xcnn.errors import UserError
from xcnn.figures import (
    Interpretation,
    PartPrototype,
    PrototypePatch,
    distinct_colours,
    interpretation_sheet,
    part_prototypes,
    save_png,
)
from xcnn.figures.interpretation import DIMMED, OPACITY
from xcnn.figures.panels import BOX

GREY = torch.full((3, 32, 32), 128, dtype=torch.uint8)
# Shares 5/9, 2/9, 1/9 and 1/9: prototypes 7, 40, then 2 and 3 by their index.
MAP = torch.tensor([[7, 7, 40], [7, 7, 40], [2, 7, 3]])
IMPORTANCE = np.array([[1.0, 1, -2], [1, 1, -2], [0.5, 1, 0]])
NAMES = {7: "House Sparrow", 40: "Red-bellied Woodpecker", 2: "Elegant Tern", 3: "Fish Crow"}


def region(row: int, column: int, size: int = 4) -> torch.Tensor:
    where = torch.zeros(size, size, dtype=torch.bool)
    where[row, column] = True
    return where


def interpretation(name: str = "B4", explanation: torch.Tensor = MAP, scale: float = 1.0) -> Interpretation:
    importance = scale * (IMPORTANCE if explanation is MAP else np.ones(explanation.shape))
    prototypes = {
        int(index): PrototypePatch(NAMES.get(int(index), f"class {index}"), GREY, region(1, 2))
        for index in explanation.unique()
    }
    return Interpretation(name, GREY, explanation, importance, prototypes)


def patches(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if "%, " in axes.get_xlabel()]


def frame(axes: Axes) -> str:
    (colour,) = {to_hex(spine.get_edgecolor()) for spine in axes.spines.values() if spine.get_visible()}
    return colour


def test_one_colour_is_one_prototype() -> None:
    figure = interpretation_sheet([interpretation()])
    drawn = pixels(figure)
    explanation = next(axes for axes in figure.axes if axes.get_title() == "explanation map")
    cells = patches(figure)
    assert [frame(axes) for axes in cells] == list(distinct_colours(4))
    for axes, (x, y) in zip(cells, ((0, 0), (2, 0), (0, 2), (2, 2)), strict=True):  # prototypes 7, 40, 2, 3
        expected = OPACITY * np.array(to_rgb(frame(axes))) + (1 - OPACITY) * 128 / 255
        np.testing.assert_allclose(at(drawn, explanation, x, y), expected, atol=0.02)
        lines = [part for part in axes.collections if isinstance(part, LineCollection)]
        assert to_hex(lines[-1].get_colors()[0]) == frame(axes)
    # The colours go by share and not by index.
    relabelled = torch.where(MAP == 7, 1000, MAP)
    again = interpretation_sheet([interpretation(explanation=relabelled)])
    assert [frame(axes) for axes in patches(again)] == list(distinct_colours(4))
    assert patches(again)[0].get_xlabel().startswith("class 1000")


def test_patches_are_the_largest_first_and_say_what_they_are() -> None:
    figure = interpretation_sheet([interpretation()], shown=3)
    assert [axes.get_xlabel() for axes in patches(figure)] == [
        "House Sparrow\n55.6%, +1",
        "Red-bellied\nWoodpecker\n22.2%, −2",
        "Elegant Tern\n11.1%, +0.5",
    ]
    (explanation,) = [axes for axes in figure.axes if axes.get_title() == "explanation map"]
    assert explanation.get_xlabel() == "and 1 more, on 11.1% of it"
    (whole,) = [axes for axes in interpretation_sheet([interpretation()]).axes if axes.get_title() == "explanation map"]
    assert whole.get_xlabel() == ""


def test_a_patch_is_bright_in_its_segment_only() -> None:
    figure = interpretation_sheet([interpretation()])
    axes = patches(figure)[0]
    drawn = pixels(figure)
    np.testing.assert_allclose(at(drawn, axes, 2, 1), 128 / 255, atol=0.01)
    np.testing.assert_allclose(at(drawn, axes, 1.2, 1), DIMMED * 128 / 255, atol=0.01)
    edge = np.array(to_rgb(distinct_colours(1)[0]))
    for x, y in ((1.5, 1), (2.5, 1), (2, 0.5), (2, 1.5)):
        np.testing.assert_allclose(at(drawn, axes, x, y), edge, atol=0.05)


@pytest.mark.parametrize(
    ("size", "row", "columns", "x", "y"),
    [
        (20, 10, [10], (6.0, 14.0), (14.0, 6.0)),  # 0.4 of the picture about the segment
        (20, 0, [19], (11.5, 19.5), (7.5, -0.5)),  # as much, and not beyond the picture
        (10, 5, [3, 4, 5], (1.3, 6.7), (7.7, 2.3)),  # 1.8 times the segment's longer side
    ],
)
def test_a_patch_is_what_lies_about_its_segment(
    size: int, row: int, columns: list[int], x: tuple[float, float], y: tuple[float, float]
) -> None:
    where = torch.zeros(size, size, dtype=torch.bool)
    where[row, columns] = True
    prototypes = {0: PrototypePatch("crow", GREY, where)}
    (axes,) = patches(
        interpretation_sheet([Interpretation("B4", GREY, torch.zeros(1, 1, dtype=torch.int64), [[1.0]], prototypes)])
    )
    assert axes.get_xlim() == pytest.approx(x)
    assert axes.get_ylim() == pytest.approx(y)


def importance_maps(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.get_title() == "importance"]


def test_importance_is_about_its_own_mean_on_one_scale() -> None:
    """A mean far above the differences, as the last map's, must not saturate the map."""
    raised = interpretation("B234", scale=0.1)
    raised = replace(raised, importance=np.asarray(raised.importance) + 40)
    flat = interpretation("B34", torch.zeros(1, 1, dtype=torch.int64), scale=4.8)
    figure = interpretation_sheet([interpretation(), raised, flat])
    shown = [axes.images[0] for axes in importance_maps(figure)]
    mean = IMPORTANCE.mean()
    reach = np.abs(IMPORTANCE - mean).max()
    assert [image.get_clim() for image in shown] == [pytest.approx((-reach, reach), rel=1e-5)] * 3
    np.testing.assert_allclose(np.asarray(shown[0].get_array()), IMPORTANCE - mean, atol=1e-6)
    np.testing.assert_allclose(np.asarray(shown[1].get_array()), 0.1 * (IMPORTANCE - mean), atol=1e-5)
    assert [axes.get_xlabel() for axes in importance_maps(figure)] == ["mean +0.17", "mean +40", "uniform +4.8"]
    red, _, blue = shown[0].to_rgba([reach])[0][:3]
    assert red > 2 * blue
    red, _, blue = shown[0].to_rgba([-reach])[0][:3]
    assert blue > 2 * red
    rounded = np.full((3, 3), 0.1, dtype=np.float32)  # its mean is not 0.1 in float32
    rounded[0, 0] = np.nextafter(rounded[0, 0], np.float32(1))
    (alone,) = importance_maps(interpretation_sheet([replace(interpretation(), importance=rounded)]))
    assert alone.get_xlabel() == "uniform +0.1"
    assert alone.images[0].get_clim() == (-1, 1)


@pytest.mark.parametrize(("side", "prototypes", "shown"), [(1, 1, 1), (28, 20, 8), (28, 60, 8)])
def test_maps_of_any_size(side: int, prototypes: int, shown: int) -> None:
    explanation = (torch.arange(side * side) % prototypes).reshape(side, side)
    panels = [interpretation(), interpretation("B234", explanation)]
    figure = interpretation_sheet(panels, "Two methods")
    assert len(patches(figure)) == 4 + shown
    assert overlapping(figure) == []
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert texts == ["B4", "B234"]


def test_images_of_unlike_shapes() -> None:
    wide = torch.zeros(3, 60, 120)
    panel = Interpretation("B4", wide, torch.zeros(2, 2, dtype=torch.int64), torch.zeros(2, 2), {})
    figure = interpretation_sheet([replace(panel, prototypes={0: PrototypePatch("tern", wide, region(0, 0, 2))})])
    for axes in figure.axes[1:4]:
        assert axes.get_aspect() == pytest.approx(0.5)  # a location is twice as wide as high


def test_part_prototypes() -> None:
    picture = torch.rand(3, 40, 60, generator=torch.Generator().manual_seed(0))
    box = (10.0, 5.0, 30.0, 25.0)
    parts = [PartPrototype(picture, box, "nearest of 600"), PartPrototype(GREY, (0, 0, 32, 32), "image 3")]
    figure = part_prototypes({"Red-bellied Woodpecker": parts, "Fish Crow": parts[:1]}, "ProtoPNet")
    first, second = figure.axes[:4], figure.axes[4:]
    assert [" ".join(row[0].get_ylabel().split()) for row in (first, second)] == ["Red-bellied Woodpecker", "Fish Crow"]
    assert [bool(axes.images) for axes in first] == [True, True, True, False]  # the whole image is not drawn twice
    assert [bool(axes.images) for axes in second] == [True, True, False, False]
    assert first[2].collections == [] or not len(first[2].collections[0].get_paths())
    assert " ".join(first[2].get_xlabel().split()) == "whole image; image 3"
    alone = part_prototypes({"Fish Crow": parts[1:]})
    assert [axes.get_title() for axes in alone.axes] == ["training\nimage"]  # no empty column of patches
    image, patch = first[:2]
    assert (image.get_xlim(), image.get_ylim()) == ((-0.5, 59.5), (39.5, -0.5))
    assert (patch.get_xlim(), patch.get_ylim()) == ((9.5, 29.5), (24.5, 4.5))
    assert patch.get_xlabel() == "nearest of 600"
    drawn = pixels(figure)
    for x, y in ((9.5, 15), (29.5, 15), (20, 4.5), (20, 24.5)):
        np.testing.assert_allclose(at(drawn, image, x, y), to_rgb(BOX), atol=0.02)
    assert [line.get_visible() for line in patch.spines.values()] == [False] * 4
    assert overlapping(figure) == []


def test_the_same_bytes_again(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_png(interpretation_sheet([interpretation()]), tmp_path / name, dpi=50)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_refusals() -> None:
    fine = interpretation()
    with pytest.raises(UserError, match="panels is empty"):
        interpretation_sheet([])
    with pytest.raises(UserError, match="shown is 0"):
        interpretation_sheet([fine], shown=0)
    for broken in (
        replace(fine, explanation=MAP.double()),
        replace(fine, explanation=MAP[:2]),
        replace(fine, explanation=MAP[None], importance=IMPORTANCE[None]),
        replace(fine, importance=np.full((3, 3), np.nan)),
    ):
        with pytest.raises(UserError, match="B4: the explanation map is"):
            interpretation_sheet([broken])
    with pytest.raises(UserError, match="B4 has prototype 40 in its map but no patch"):
        interpretation_sheet([replace(fine, prototypes={7: fine.prototypes[7]})])
    empty = PrototypePatch("tern", GREY, torch.zeros(4, 4, dtype=torch.bool))
    with pytest.raises(UserError, match=r"tern: the region is \(4, 4\)"):
        interpretation_sheet([replace(fine, prototypes={**fine.prototypes, 2: empty})])
    with pytest.raises(UserError, match=r"image is \(3, 32, 32\)"):
        interpretation_sheet([replace(fine, image=GREY.float())])

    with pytest.raises(UserError, match="rows is empty"):
        part_prototypes({})
    with pytest.raises(UserError, match=r"'crow'.* is empty"):
        part_prototypes({"crow": []})
    for box in ((5, 5, 5, 9), (0, 0, 33, 9), (-1, 0, 4, 4)):
        with pytest.raises(UserError, match=r"crow: the box .* is not on an image of 32 x 32"):
            part_prototypes({"crow": [PartPrototype(GREY, box)]})
