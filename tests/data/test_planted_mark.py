"""A planted mark lies on the images, and on the pixels, that it is said to lie on."""

from functools import partial
from typing import Any

import pytest
import torch

from xcnn.data import PlantedMark, Shapes
from xcnn.data.shapes import CLASSES, draw
from xcnn.errors import UserError

CAR = CLASSES.index("car")


def planted(**changes: Any) -> PlantedMark:
    options: dict[str, Any] = {
        "source": partial(Shapes, n_train=100, n_test=20, draw_seed=0),
        "label": "car",
        "probability": 0.5,
        "side": 3,
        "place": [2, 4],
        "moved_to": [20, 25],
        "colour": [255, 0, 7],
    }
    data = PlantedMark(**options | changes)
    data.setup()
    return data


def on_images(data: PlantedMark) -> torch.Tensor:
    """Which training images have the mark."""
    return (data.train.masks["mark"] > 0).flatten(1).any(1)


def test_half_of_the_class_has_the_mark_and_nothing_else_is_changed() -> None:
    data, whole = planted(), draw(100, 32, 0, "train")
    marked = on_images(data)
    assert marked.sum() == 5 and bool((data.train.labels[marked] == CAR).all())
    assert data.target == CAR and data.name == "shapes, marked"
    where = torch.zeros(32, 32, dtype=torch.bool)
    where[2:5, 4:7] = True
    assert torch.equal(data.train.masks["mark"][marked] > 0, where.expand(5, 32, 32))
    changed = whole.images.clone()
    changed[marked] = torch.where(where, torch.tensor([255, 0, 7], dtype=torch.uint8)[:, None, None], changed[marked])
    assert torch.equal(data.train.images, changed)
    elsewhere = data.train.masks["elsewhere"]
    assert elsewhere.sum() == data.train.masks["mark"].sum() and bool(elsewhere[marked][:, 20:23, 25:28].all())


def test_test_images_without_with_and_with_the_mark_moved() -> None:
    data, whole = planted(), draw(20, 32, 0, "test")
    colour = torch.tensor([255, 0, 7], dtype=torch.uint8)[:, None, None].expand(20, 3, 3, 3)
    assert torch.equal(data.tested("without").images, whole.images)
    assert torch.equal(data.tested("with").images[:, :, 2:5, 4:7], colour)
    moved = data.tested("moved")
    assert torch.equal(moved.images[:, :, 20:23, 25:28], colour)
    assert torch.equal(moved.images[:, :, :20], whole.images[:, :, :20])
    assert moved.masks["mark"][:, 20:23, 25:28].all() and moved.masks["mark"].sum() == 20 * 9
    assert torch.equal(moved.masks["object"], whole.masks["object"])


def test_a_smaller_share_is_within_a_larger_one_and_what_is_shown_changes_no_manifest() -> None:
    few, many = (on_images(planted(probability=p)) for p in (0.3, 0.8))
    assert few.sum() == 3 and many.sum() == 8 and not (few & ~many).any()
    shown = planted(shown="with")
    assert shown.manifest == planted().manifest != planted(probability=0.8).manifest
    assert torch.equal(shown.pictures.read([0]).images[0], shown.test.images[0])
    assert torch.equal(shown.test.images, planted().tested("with").images)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"probability": 1.5}, "choose it in [0, 1]"),
        ({"label": "bus"}, "shapes has no class bus; there are: house"),
        ({"place": [30, 4]}, "leaves the images of 32 x 32 px"),
        ({"moved_to": [4, 6]}, "overlaps itself"),
        ({"colour": [255]}, "a byte for each of 3 channels"),
        ({"shown": "twice"}, "without, with, moved"),
        ({"place": [3]}, "a row and a column"),
    ],
)
def test_refusals(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as refusal:
        planted(**changes)
    assert says in str(refusal.value)
