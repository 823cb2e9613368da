"""Images of concepts: single parts whose places are known, colours, folders; and what is refused."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from xcnn.data import FolderConcepts, MarkConcepts, PartConcepts, PlantedMark, Shapes
from xcnn.data.concepts import PARTS_SEED
from xcnn.data.shapes import CLASSES, PARTS, draw
from xcnn.errors import Missing, UserError


@pytest.fixture(scope="module")
def shapes() -> Shapes:
    data = Shapes(n_train=20, n_test=40)
    data.setup()
    return data


def test_a_part_is_alone_on_its_background(shapes: Shapes) -> None:
    sets = PartConcepts(["wheel", "eye"], ["red"], n_scenes=60, class_size=3)(shapes)
    whole, empty = draw(120, 32, PARTS_SEED, "test"), draw(120, 32, PARTS_SEED, "test", False)
    number = PARTS.index("wheel") + 1
    places = [i for i in range(60) if CLASSES[i % 10] in ("car", "truck") and (whole.masks["parts"][i] == number).any()]
    assert len(sets.concepts["wheel"]) == len(places) == 12
    for image, place in zip(sets.concepts["wheel"], places, strict=True):
        wheel = whole.masks["parts"][place] == number
        assert torch.equal(image[:, wheel], whole.images[place][:, wheel])
        assert torch.equal(image[:, ~wheel], empty.images[place][:, ~wheel])
    assert sets.truth == {"wheel": ["car", "truck"], "eye": ["face", "fish"], "red": []}
    assert {name: len(images) for name, images in sets.classes.items()} == dict.fromkeys(CLASSES, 3)
    assert torch.equal(sets.classes["fir"], shapes.test.images[1::10][:3])
    assert len(sets.pool) == 60 and len(sets.concepts["red"]) == 6


def test_the_images_of_a_colour_have_most_of_it(shapes: Shapes) -> None:
    sets = PartConcepts(["wheel"], ["red", "blue"], n_scenes=200, colour_share=0.1)(shapes)

    def excess(images: torch.Tensor) -> torch.Tensor:
        bright = (images.float().amax(1, keepdim=True) > 128).float()  # parts are brighter than backgrounds
        mean = (images * bright).sum((2, 3)) / bright.sum((2, 3))
        return mean[:, 0] - mean[:, 2]

    assert excess(sets.concepts["red"]).mean() > 40 and excess(sets.concepts["blue"]).mean() < -40
    assert excess(sets.pool).mean().abs() < 15


def test_a_planted_mark_is_a_concept() -> None:
    data = PlantedMark(partial(Shapes, n_train=20, n_test=40), "truck", 1.0, 4, [4, 4], [24, 24], [255, 0, 255])
    data.setup()
    sets = MarkConcepts(class_size=3)(data)
    others = [place for place in range(40) if CLASSES[place % 10] != "truck"]
    clean, magenta = data.tested("without").images, torch.tensor([255, 0, 255], dtype=torch.uint8)[None, :, None, None]
    assert torch.equal(sets.pool, clean[others[1::2]]) and len(sets.concepts["mark"]) == 18
    for name, (top, left) in {"mark": (4, 4), "mark elsewhere": (24, 24)}.items():
        square = sets.concepts[name][:, :, top : top + 4, left : left + 4]
        assert torch.equal(square, magenta.expand_as(square))
        square.copy_(clean[others[::2], :, top : top + 4, left : left + 4])
        assert torch.equal(sets.concepts[name], clean[others[::2]])
    assert torch.equal(sets.classes["truck"], clean[3::10][:3])
    assert sets.truth == {"mark": ["truck"], "mark elsewhere": []}


def test_data_without_a_mark(shapes: Shapes) -> None:
    with pytest.raises(UserError, match="shapes has no planted mark"):
        MarkConcepts()(shapes)


def test_refused_parts(shapes: Shapes) -> None:
    with pytest.raises(UserError, match="shapes has no 'keel'; there are: wall, roof"):
        PartConcepts(["keel"])
    with pytest.raises(UserError, match="no concept 'door' to compare; there are: wheel"):
        PartConcepts(["wheel"], [], 20, relative=[["wheel", "door"]])(shapes)
    other = Shapes(n_train=20, n_test=20)
    other.setup()
    other.classes = ("a", "b")
    with pytest.raises(UserError, match="drawn for the data set shapes, not for shapes"):
        PartConcepts(["wheel"])(other)


def folder(root: Path, name: str, n: int, value: int) -> None:
    (root / name).mkdir(parents=True)
    for i in range(n):
        Image.fromarray(np.full((40, 48, 3), value + i, np.uint8)).save(root / name / f"{i}.png")


def test_folders(tmp_path: Path, shapes: Shapes) -> None:
    folder(tmp_path, "striped", 3, 10)
    folder(tmp_path, "cars", 2, 90)
    make = FolderConcepts(tmp_path, {"stripes": "striped"}, {"car": "cars", "boat": None}, resize=36, crop=32)
    sets = make(shapes)
    assert sets.concepts["stripes"][:, 0, 0, 0].tolist() == [10, 11, 12]
    assert sets.concepts["stripes"].shape == (3, 3, 32, 32) and sets.classes["car"][:, 0, 0, 0].tolist() == [90, 91]
    assert torch.equal(sets.classes["boat"], shapes.test.images[shapes.test.labels == 4])
    assert len(sets.pool) == 32  # neither cars nor boats
    assert make(shapes).manifest == sets.manifest
    few = FolderConcepts(tmp_path, {}, make.classes, resize=36, crop=32, class_size=1)(shapes)
    assert [len(images) for images in few.classes.values()] == [1, 1]
    folder(tmp_path, "more", 1, 3)
    assert FolderConcepts(tmp_path, {"stripes": "more"}, make.classes, resize=36, crop=32)(shapes).manifest not in (
        sets.manifest,
    )


def test_refused_folders(tmp_path: Path, shapes: Shapes) -> None:
    with pytest.raises(Missing, match=r"looked for .*striped"):
        FolderConcepts(tmp_path, {"stripes": "striped"}, {"car": None})(shapes)
    (tmp_path / "striped").mkdir()
    with pytest.raises(UserError, match="striped has no image"):
        FolderConcepts(tmp_path, {"stripes": "striped"}, {"car": None})(shapes)
    with pytest.raises(UserError, match="shapes has no class 'boats'; near ones: boat"):
        FolderConcepts(tmp_path, {}, {"boats": None})(shapes)
    few = Shapes(n_train=20, n_test=20, test_size=2)
    few.setup()
    absent = next(name for label, name in enumerate(CLASSES) if label not in few.test.labels)
    with pytest.raises(UserError, match=f"there is no image of class '{absent}'"):
        FolderConcepts(tmp_path, {}, {absent: None})(few)
