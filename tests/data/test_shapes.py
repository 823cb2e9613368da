"""The drawn data set: the same seed the same bytes, balanced classes, and masks that say what was drawn where."""

import hashlib

import pytest
import torch
from torch import Tensor

from xcnn.data import PARTS, Labelled, Shapes
from xcnn.data.shapes import CLASSES, MOST_PARTS, STREAMS, Split, draw
from xcnn.errors import UserError

# What each class is made of, written here a second time on purpose.
MADE_OF = {
    "house": {"wall", "roof", "door"},
    "fir": {"trunk", "crown"},
    "car": {"cabin", "body", "wheel"},
    "truck": {"cargo", "cabin", "wheel"},
    "boat": {"mast", "hull", "sail"},
    "face": {"head", "eye", "mouth"},
    "flower": {"stem", "petal", "core"},
    "mushroom": {"stem", "cap"},
    "fish": {"tail", "body", "eye"},
    "lamp": {"stem", "base", "shade"},
}


def digest(data: Labelled) -> str:
    parts = (data.images, data.labels, *data.masks.values())
    return hashlib.sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest()


def drawn(n: int, size: int = 32, seed: int = 0, split: Split = "train", objects: bool = True) -> Labelled:
    """Drawn anew: without the cache, which would make any comparison hold."""
    return draw.__wrapped__(n, size, seed, split, objects)


@pytest.fixture(scope="module")
def data() -> Labelled:
    return drawn(400)


@pytest.mark.parametrize("size", [32, 64])
def test_same_seed_gives_same_bytes(size: int):
    before = digest(drawn(30, size))
    torch.manual_seed(5)
    assert digest(drawn(30, size)) == before
    assert digest(drawn(30, size, seed=1)) != before


def test_drawing_leaves_the_global_random_state():
    state = torch.get_rng_state()
    drawn(10)
    assert torch.equal(torch.get_rng_state(), state)


def test_image_does_not_depend_on_how_many_are_drawn(data: Labelled):
    few = drawn(325)  # some classes are not in the second block
    assert torch.equal(few.images, data.images[:325])
    assert torch.equal(few.masks["parts"], data.masks["parts"][:325])


def test_every_image_is_another_one(data: Labelled):
    everything = torch.cat([data.images, drawn(400, split="test").images, drawn(400, seed=1).images])
    grounds = torch.cat([drawn(400, split=split, objects=False).images for split in STREAMS])
    assert len(everything.flatten(1).unique(dim=0)) == 1200
    assert len(grounds.flatten(1).unique(dim=0)) == 800


def test_classes_are_balanced():
    shapes = Shapes(n_train=45, n_test=20)
    shapes.setup()
    assert torch.bincount(shapes.train.labels).tolist() == [5] * 5 + [4] * 5
    assert torch.bincount(shapes.test.labels).tolist() == [2] * 10
    assert shapes.classes == tuple(MADE_OF)


def test_outside_the_object_is_the_background_alone(data: Labelled):
    ground = drawn(400, objects=False)
    outside = data.masks["object"] == 0
    assert not ground.masks["object"].any()
    changed = (data.images != ground.images).any(1)
    assert not (changed & outside).any()
    inside = ~outside
    assert (changed & inside).sum() / inside.sum() > 0.97  # the rest: slivers at the rim
    share = inside.float().mean((1, 2))
    assert share.min() > 0.05
    assert share.max() < 0.75


def test_parts_partition_the_object(data: Labelled):
    assert data.masks["object"].dtype == data.masks["parts"].dtype == torch.uint8
    assert torch.equal(data.masks["object"], (data.masks["parts"] > 0).to(torch.uint8))


def test_each_image_shows_the_parts_of_its_class(data: Labelled):
    for name, made_of in MADE_OF.items():
        parts = data.masks["parts"][data.labels == CLASSES.index(name)]
        for part in made_of:
            assert (parts == PARTS.index(part) + 1).flatten(1).any(1).all(), (name, part)
        assert {PARTS[index - 1] for index in parts.unique().tolist() if index} == made_of
    assert max(map(len, MADE_OF.values())) == MOST_PARTS
    assert set().union(*MADE_OF.values()) == set(PARTS)
    assert len(set(PARTS)) == len(PARTS)


def test_a_part_is_of_one_colour(data: Labelled):
    """Away from the parts' rims only pixel noise of at most 0.05 is left, whatever the texture of the background.

    Narrow notches (between the tiers of a fir) are rims too, hence the tenth that may differ.
    """
    for image, parts in zip(data.images[:50].float(), data.masks["parts"][:50], strict=True):
        for part in parts.unique()[1:]:
            pixels = image[:, eroded(parts == part)]
            if pixels.numel():
                deviation = (pixels - pixels.median(1, keepdim=True).values).abs().amax(0)
                assert (deviation <= 2 * 0.05 * 255 + 1).float().mean() > 0.9


def eroded(mask: Tensor) -> Tensor:
    """The cells whose eight neighbours all belong to the mask; a cell at the image's edge lacks some."""
    outside = torch.nn.functional.pad(~mask, (1, 1, 1, 1), value=True)
    return torch.nn.functional.max_pool2d(outside[None].float(), 3, 1)[0] == 0


def test_colour_does_not_give_the_class(data: Labelled):
    """The nearest class mean of the object's mean colour is far from telling the class of other images."""

    def colours(shapes: Labelled) -> Tensor:
        mask = shapes.masks["object"][:, None]
        return (shapes.images * mask).flatten(2).sum(2) / mask.flatten(2).sum(2)

    means = torch.stack([colours(data)[data.labels == label].mean(0) for label in range(10)])
    test = drawn(400, split="test")
    guesses = torch.cdist(colours(test), means).argmin(1)
    assert (guesses == test.labels).float().mean() < 0.35


def test_64_px_show_the_same_scenes(data: Labelled):
    large = drawn(40, 64)
    halved = torch.nn.functional.avg_pool2d(large.images.float(), 2)
    difference = (halved - data.images[:40].float()).abs().mean((1, 2, 3))
    unrelated = (halved - data.images[40:80].float()).abs().mean((1, 2, 3))
    assert difference.max() < 18
    assert unrelated.min() > 25
    overlap = torch.nn.functional.max_pool2d(large.masks["object"].float(), 2) == data.masks["object"][:40]
    assert overlap.float().mean() > 0.98


def test_draw_seed_keeps_the_pictures_while_seed_changes_the_split():
    def shapes(seed: int, draw_seed: int | None) -> Shapes:
        made = Shapes(n_train=20, n_test=10, val_share=0.5, seed=seed, draw_seed=draw_seed)
        made.setup()
        return made

    assert shapes(1, 0).manifest == shapes(2, 0).manifest != shapes(1, None).manifest
    assert not torch.equal(shapes(1, 0).val.images, shapes(2, 0).val.images)
    assert shapes(1, None).manifest == shapes(2, 1).manifest


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 48}, "32 or 64 px"),
        ({"n_train": 9}, "n_train is 9: give at least 10"),
        ({"n_test": 0}, "n_test is 0"),
        ({"seed": -1}, "at least 0, not -1"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, int], message: str):
    with pytest.raises(UserError, match=message):
        Shapes(**options)
