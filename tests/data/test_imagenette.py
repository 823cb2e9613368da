"""Imagenette in both layouts, resized to a square, and what is said of trees that are not whole."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from xcnn.data import Imagenette
from xcnn.data.download import IMAGENETTE_MD5
from xcnn.data.imagenette import CLASSES, URL
from xcnn.errors import Missing, UserError


def tree(root: Path, name: str = "imagenette") -> Path:
    """Two training images and one validation image of each class, 30 x 20 (the second upright, and grey)."""
    folder = root / name
    for label, wnid in enumerate(CLASSES):
        for part, count in (("train", 2), ("val", 1)):
            (folder / part / wnid).mkdir(parents=True)
            for index in range(count):
                size = (20, 30) if index == 0 else (30, 20)
                pixels = np.random.default_rng([label, index, count]).integers(0, 256, (*size, 3), np.uint8)
                image = Image.fromarray(pixels)
                path = folder / part / wnid / f"{part}_{label}{index}.JPEG"
                (image.convert("L") if index else image).save(path, quality=95)
    return folder


def loaded(root: Path, **options) -> Imagenette:
    data = Imagenette(root, **{"image_size": 16, **options})
    data.setup()
    return data


def squeezed(path: Path) -> torch.Tensor:
    with Image.open(path) as image:
        image = image.convert("RGB").resize((16, 16), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)


@pytest.mark.parametrize("name", ["imagenette", "imagenette2", "imagenette2-320", "imagenette2-160"])
def test_every_layout_class_by_class(tmp_path: Path, name: str):
    folder = tree(tmp_path, name)
    data = loaded(tmp_path)
    assert data.classes == tuple(CLASSES.values()) and data.classes[:2] == ("tench", "English springer")
    assert data.name == "Imagenette, 16 px (20 of 9,469 training images)" and data.input_size == (3, 16, 16)
    assert data.train.labels.tolist() == sorted([*range(10)] * 2) and data.test.labels.tolist() == [*range(10)]
    for part, images in (("train", data.train.images), ("val", data.test.images)):
        expected = torch.stack([squeezed(path) for path in sorted(folder.glob(f"{part}/*/*"))])
        assert torch.equal(images, expected)
    assert torch.equal(data.train.images[1, 0], data.train.images[1, 2])  # grey


def test_classes_and_archive_are_torchvisions():
    theirs = datasets.Imagenette
    assert {wnid: names[0] for wnid, names in theirs._WNID_TO_CLASS.items()} == CLASSES
    assert theirs._ARCHIVES["320px"] == (URL, IMAGENETTE_MD5)


def test_pictures_are_the_validation_images_by_their_files(tmp_path: Path):
    tree(tmp_path)
    whole, some = loaded(tmp_path), loaded(tmp_path, test_size=4, seed=1)
    assert whole.pictures.ids == tuple(f"val_{label}0" for label in range(10))
    batch = some.pictures.read(range(4))
    places = [whole.pictures.ids.index(name) for name in batch.ids]
    assert batch.labels.tolist() == places and torch.equal(batch.images, whole.test.images[places])
    assert [boxes.shape for boxes in batch.boxes] == [(0, 4)] * 4 and some.manifest == whole.manifest


def test_selection_sees_training_images_only(tmp_path: Path):
    tree(tmp_path)
    data = loaded(tmp_path, val_share=0.25)
    assert (len(data.train), len(data.val), len(data.test)) == (15, 5, 10)


def test_a_process_decodes_a_tree_once(tmp_path: Path):
    tree(tmp_path)
    assert loaded(tmp_path).train.images.data_ptr() == loaded(tmp_path, seed=1).train.images.data_ptr()
    assert loaded(tmp_path, image_size=8).manifest != loaded(tmp_path).manifest


def test_absent_data_set_says_what_where_and_how(tmp_path: Path):
    with pytest.raises(Missing, match=f"looked below {tmp_path} for imagenette, imagenette2, .*make data-imagenette`"):
        loaded(tmp_path)


@pytest.mark.parametrize(("part", "empty"), [("train", False), ("val", False), ("val", True)])
def test_a_missing_class_is_named(tmp_path: Path, part: str, empty: bool):
    folder = tree(tmp_path) / part
    for path in (folder / "n03028079").iterdir():
        path.unlink()
    if not empty:
        (folder / "n03028079").rmdir()
    with pytest.raises(Missing, match=f"{folder} (lacks the class folder|has no images .* of) n03028079"):
        loaded(tmp_path)


@pytest.mark.parametrize("keep", [0, 300], ids=["empty", "truncated"])
def test_broken_images_are_named(tmp_path: Path, keep: int):
    path = tree(tmp_path) / "train" / "n03888257" / "train_91.JPEG"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=f"cannot read the image {path}"):
        loaded(tmp_path)


def test_impossible_size():
    with pytest.raises(UserError, match="image_size must be"):
        Imagenette(image_size=0)


@pytest.mark.data
@pytest.mark.skipif("XCNN_DATA" not in os.environ, reason="needs Imagenette: set XCNN_DATA to the data root")
def test_real_counts():
    root = Path(os.environ["XCNN_DATA"])
    if not any(root.glob("imagenette*")):
        pytest.skip("there is no Imagenette below XCNN_DATA")
    data = loaded(root, image_size=32)
    counts = torch.bincount(data.train.labels), torch.bincount(data.test.labels)
    assert all(len(count) == 10 and count.min() >= 100 for count in counts)
    assert len(set(data.pictures.ids)) == len(data.test)
