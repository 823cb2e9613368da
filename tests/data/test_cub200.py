"""CUB-200-2011 as distributed, any of its classes, whole or cropped, and what is said of trees that are not whole."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from tools.environment import ROOT
from xcnn.data import CUB200
from xcnn.data.cub200 import described
from xcnn.errors import Missing, UserError

CLASSES = ("001.Black_footed_Albatross", "002.Laysan_Albatross", "003.Sooty_Albatross")
PARTS = ("back", "left eye", "tail")
N = 12
# x, y, width, height in files of 60 x 40, and x, y, visible of the three parts
BOX = (12, 8, 30, 16)
PLACES = ((12, 8, 1), (27, 24, 1), (50, 10, 1))


def pixels(index: int) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 256, (40, 60, 3), np.uint8)


def tree(root: Path) -> Path:
    """12 images of 3 classes, 2 of each class to train on; the third is grey, and the last's box overhangs."""
    folder = root / "CUB_200_2011"
    (folder / "parts").mkdir(parents=True)
    lists: dict[str, list[str]] = {}
    for key in range(1, N + 1):
        name = CLASSES[(key - 1) // 4]
        path = f"{name}/{name[4:]}_{key:04d}.jpg"
        (folder / "images" / name).mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(pixels(key))
        (image.convert("L") if key == 3 else image).save(folder / "images" / path, quality=95)
        box = (45, 20, 40, 25) if key == N else BOX
        rows = {
            "images.txt": path,
            "image_class_labels.txt": (key - 1) // 4 + 1,
            "train_test_split.txt": key % 2,
            "bounding_boxes.txt": " ".join(f"{side:.1f}" for side in box),
        }
        for file, value in rows.items():
            lists.setdefault(file, []).append(f"{key} {value}")
        for part, (x, y, visible) in enumerate(PLACES, 1):
            seen = visible and not (key == 1 and part == 2)
            place = f"{key} {part} {x * seen:.1f} {y * seen:.1f} {int(seen)}"
            lists.setdefault("parts/part_locs.txt", []).append(place)
    lists["classes.txt"] = [f"{key} {name}" for key, name in enumerate(CLASSES, 1)]
    lists["parts/parts.txt"] = [f"{key} {name}" for key, name in enumerate(PARTS, 1)]
    for file, lines in lists.items():
        (folder / file).write_text("\n".join(lines) + "\n")
    return folder


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def loaded(root: Path, **options) -> CUB200:
    data = CUB200(root, **{"image_size": 20, **options})
    data.setup()
    return data


def resized(folder: Path, key: int, box: tuple[int, int, int, int] | None = None) -> torch.Tensor:
    """What the recipe's transform makes of a file: (3, 20, 20)."""
    name = CLASSES[(key - 1) // 4]
    with Image.open(folder / "images" / name / f"{name[4:]}_{key:04d}.jpg") as image:
        image = image.convert("RGB").crop(box or (0, 0, 60, 40)).resize((20, 20), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)


def test_official_split_in_the_order_of_the_ids(tmp_path: Path):
    folder = tree(tmp_path)
    data = loaded(tmp_path)
    assert data.classes == ("Black footed Albatross", "Laysan Albatross", "Sooty Albatross")
    assert data.name == "CUB-200-2011 (3 of 200 classes, 20 px)" and data.input_size == (3, 20, 20)
    assert data.part_names == PARTS
    for part, keys in ((data.train, range(1, N, 2)), (data.test, range(2, N + 1, 2))):
        assert part.labels.tolist() == [0, 0, 1, 1, 2, 2]
        assert [int(name[-4:]) for name in part.ids] == list(keys)
        assert torch.equal(part.images, torch.stack([resized(folder, key) for key in keys]))
    assert (data.train.images[1, 0] == data.train.images[1, 2]).all()  # grey


def test_lists_may_come_in_any_order(tmp_path: Path):
    folder = tree(tmp_path / "a")
    before = loaded(tmp_path / "a")
    for name in ("images.txt", "bounding_boxes.txt", "classes.txt", "parts/parts.txt", "parts/part_locs.txt"):
        lines = (folder / name).read_text().splitlines()
        (folder / name).write_text("\n".join(lines[::-1]))
    folder.parent.rename(tmp_path / "b")  # a process reads a place once
    after = loaded(tmp_path / "b")
    assert after.manifest == before.manifest and after.part_names == PARTS


def test_boxes_and_parts_go_with_the_whole_image(tmp_path: Path):
    tree(tmp_path)
    data = loaded(tmp_path)
    batch = data.pictures.read([0, 5])
    assert batch.ids == data.test.ids[::5] and torch.equal(batch.images, data.test.images[::5])
    # 60 x 40 to 20 x 20: x by a third, y by a half; the last box, to 85, 45, ends with its image
    assert batch.boxes[0].tolist() == [[4, 4, 14, 12]]
    assert torch.allclose(batch.boxes[1], torch.tensor([[15.0, 10, 20, 20]]))
    expected = torch.tensor([[4, 4, 1], [9, 12, 1], [50 / 3, 5, 1]])
    assert torch.allclose(data.test.parts, expected.expand(6, 3, 3))
    assert data.train.parts[0, 1].tolist() == [0, 0, 0] and torch.allclose(data.train.parts[1], expected)


def test_cropped_to_the_box(tmp_path: Path):
    folder = tree(tmp_path)
    data = loaded(tmp_path, crop="box")
    assert data.name == "CUB-200-2011 (3 of 200 classes, cropped to the boxes, 20 px)"
    assert torch.equal(data.test.images[0], resized(folder, 2, (12, 8, 42, 24)))
    assert torch.equal(data.test.images[5], resized(folder, 12, (45, 20, 60, 40)))
    assert torch.allclose(data.test.boxes, torch.tensor([0.0, 0, 20, 20]).expand(6, 4))
    assert data.test.parts[0].tolist() == [[0, 0, 1], [10, 20, 1], [0, 0, 0]]  # the third is outside
    assert data.test.parts[5, :2].tolist() == [[0, 0, 0], [0, 0, 0]]
    assert torch.allclose(data.test.boxes[0], data.pictures.read([0]).boxes[0])


def test_some_classes(tmp_path: Path):
    tree(tmp_path)
    data = loaded(tmp_path, labels=["Sooty Albatross", "Black footed Albatross"])
    assert data.classes == ("Black footed Albatross", "Sooty Albatross")
    assert data.train.labels.tolist() == data.test.labels.tolist() == [0, 0, 1, 1]
    assert [int(name[-4:]) for name in data.pictures.ids] == [2, 4, 10, 12]
    assert data.name == "CUB-200-2011 (2 of 200 classes, 20 px)" and data.manifest != loaded(tmp_path).manifest


def partial(root: Path, numbers: tuple[int, ...] = (1, 150, 200), annotated: tuple[int, ...] = (1, 4, 7)) -> Path:
    """The tree with other official numbers of its classes, and the parts of these images only."""
    folder = tree(root)
    for number, name in zip(numbers[1:], CLASSES[1:], strict=True):
        old, new = int(name[:3]), f"{number:03d}{name[3:]}"
        (folder / "images" / name).rename(folder / "images" / new)
        for file in ("images.txt", "classes.txt"):
            path = folder / file
            path.write_text(path.read_text().replace(name, new).replace(f"\n{old} {new}", f"\n{number} {new}"))
        path = folder / "image_class_labels.txt"
        path.write_text("".join(
            f"{key} {number if int(label) == old else label}\n" for key, label in map(str.split, path.open())
        ))  # fmt: skip
    path = folder / "parts" / "part_locs.txt"
    path.write_text("".join(line for line in path.open() if int(line.split()[0]) in annotated))
    return folder


def test_some_classes_under_their_official_numbers_and_parts_of_some_images(tmp_path: Path):
    partial(tmp_path)
    tree(tmp_path / "whole")
    some, whole = loaded(tmp_path), loaded(tmp_path / "whole")
    assert some.classes == whole.classes and some.train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    for part, known in (("train", [1, 0, 0, 1, 0, 0]), ("test", [0, 1, 0, 0, 0, 0])):
        ours, all_of_them = getattr(some, part), getattr(whole, part)
        is_known = torch.tensor(known) == 1
        assert torch.equal(ours.images, all_of_them.images) and torch.equal(ours.boxes, all_of_them.boxes)
        assert torch.equal(ours.parts[is_known], all_of_them.parts[is_known])
        assert ours.parts[~is_known].isnan().all()
    assert described(tmp_path) == "CUB-200-2011 (3 of 200 classes), with the parts of 3 of 12 images,"
    assert described(tmp_path / "whole") == "CUB-200-2011 (3 of 200 classes)"


def test_images_that_end_where_their_boxes_do_are_named_cropped(tmp_path: Path):
    path = tree(tmp_path) / "bounding_boxes.txt"
    path.write_text("".join(f"{key} 0.0 0.0 60.0 40.0\n" for key in range(1, N + 1)))
    assert loaded(tmp_path).name == "CUB-200-2011 (3 of 200 classes, cropped to the boxes, 20 px)"
    edit(path, "4 0.0 0.0 60.0", "4 0.0 0.0 59.0")
    tmp_path.rename(tmp_path.with_name("again"))
    assert loaded(tmp_path.with_name("again")).name == "CUB-200-2011 (3 of 200 classes, 20 px)"


def test_annotations_follow_the_images_that_are_drawn(tmp_path: Path):
    tree(tmp_path)
    whole, some = loaded(tmp_path), loaded(tmp_path, test_size=3, train_size=5, val_share=0.4, seed=2)
    assert (len(some.train), len(some.val), len(some.test)) == (3, 2, 3)
    assert not set(some.train.ids) & set(some.val.ids)
    for part, source in ((some.train, whole.train), (some.val, whole.train), (some.test, whole.test)):
        places = [source.ids.index(name) for name in part.ids]
        for field in ("images", "labels", "boxes", "parts"):
            assert torch.equal(getattr(part, field), getattr(source, field)[places])
    assert some.pictures.ids == some.test.ids and some.manifest == whole.manifest


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [("bounding_boxes.txt", "4 12.0", "4 11.0"), ("parts/part_locs.txt", "4 2 27.0", "4 2 28.0")],
)
def test_manifest_sees_the_annotations(tmp_path: Path, name: str, old: str, new: str):
    folder = tree(tmp_path / "a")
    before = loaded(tmp_path / "a").manifest
    edit(folder / name, old, new)
    folder.parent.rename(tmp_path / "b")
    assert loaded(tmp_path / "b").manifest != before


def test_a_process_decodes_a_tree_once(tmp_path: Path):
    tree(tmp_path)
    assert loaded(tmp_path).train.images.data_ptr() == loaded(tmp_path, seed=1).train.images.data_ptr()


def test_absent_data_set_says_what_where_and_how(tmp_path: Path):
    with pytest.raises(
        Missing, match=f"not there: looked for {tmp_path}/CUB_200_2011. .*make data-cub200.*CUB_200_2011.tgz"
    ):
        loaded(tmp_path)


@pytest.mark.parametrize(
    "name",
    ["images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt", "bounding_boxes.txt",
     "parts/parts.txt", "parts/part_locs.txt"],
)  # fmt: skip
def test_missing_lists_are_named(tmp_path: Path, name: str):
    path = tree(tmp_path) / name
    path.unlink()
    with pytest.raises(Missing, match=f"incomplete: there is no {path}. .*make data-cub200"):
        loaded(tmp_path)


def test_missing_images_are_counted_and_named(tmp_path: Path):
    folder = tree(tmp_path)
    for path in (folder / "images" / CLASSES[1]).iterdir():
        path.unlink()
    with pytest.raises(Missing, match=r"lacks 4 of the 12 images asked for: images/002.*_0005.jpg, .*make data-cub200"):
        loaded(tmp_path)
    assert len(loaded(tmp_path, labels=["Sooty Albatross"]).train) == 2


@pytest.mark.parametrize(
    ("name", "old", "new", "number"),
    [
        ("images.txt", "2 001.", "two 001.", 2),
        ("images.txt", "_0003.jpg", "_0003 .jpg", None),  # a path of two words: no such file
        ("image_class_labels.txt", "4 1\n", "4\n", 4),
        ("train_test_split.txt", "5 1\n", "5 2\n", 5),
        ("bounding_boxes.txt", "3 12.0 8.0 30.0", "3 12.0 8.0 0.0", 3),
        ("bounding_boxes.txt", "3 12.0 8.0 30.0", "3 12.0 8.0", 3),
        ("parts/part_locs.txt", "2 1 12.0 8.0 1", "2 1 12.0 8.0 yes", 4),
        ("parts/parts.txt", "2 left eye", "2", 2),
        ("classes.txt", "3 003", "2 003", 3),
    ],
)
def test_damaged_lines_are_named(tmp_path: Path, name: str, old: str, new: str, number: int | None):
    path = tree(tmp_path) / name
    edit(path, old, new)
    with pytest.raises(UserError, match=f"{path}, line {number}: " if number else "lacks 1 of the 12 images"):
        loaded(tmp_path)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("image_class_labels.txt", "12 3\n", "", r"images.txt do not have the same ids: 1 only in images.txt \(12\)\."),
        (
            "bounding_boxes.txt",
            "12 45",
            "13 45",
            r"1 only in bounding_boxes.txt \(13\) and 1 only in images.txt \(12\)",
        ),
        ("train_test_split.txt", "1 1\n", "", r"train_test_split.txt and images.txt"),
        ("parts/part_locs.txt", "2 1 12.0 8.0 1\n", "", r"1 only in images.txt and parts.txt \(\(2, 1\)\)"),
        ("image_class_labels.txt", "12 3", "12 4", r"1 only in image_class_labels.txt \(4\)\."),
        (
            "parts/part_locs.txt",
            "12 3 50",
            "13 3 50",
            r"1 only in part_locs.txt \(\(13, 3\)\) and 1 only in",
        ),
        ("parts/part_locs.txt", "1 1 12", "0 1 12", r"1 only in part_locs.txt \(\(0, 1\)\) and 1 only in images.txt"),
        (
            "image_class_labels.txt",
            "12 3",
            "12 2",
            r"do not fit in 1 of 12 images: image 12 is 003.*_0012.jpg, and its class 2 is 002.Laysan_Albatross\.",
        ),
    ],
)
def test_lists_that_do_not_match_are_named(tmp_path: Path, name: str, old: str, new: str, message: str):
    edit(tree(tmp_path) / name, old, new)
    with pytest.raises(UserError, match=message):
        loaded(tmp_path)


def test_a_class_that_one_part_lacks_is_named(tmp_path: Path):
    path = tree(tmp_path) / "train_test_split.txt"
    edit(path, "6 0", "6 1")
    edit(path, "8 0", "8 1")
    with pytest.raises(UserError, match="leaves no image of Laysan Albatross to test"):
        loaded(tmp_path)


@pytest.mark.parametrize("keep", [0, 400], ids=["empty", "truncated"])
def test_broken_images_are_named(tmp_path: Path, keep: int):
    path = tree(tmp_path) / "images" / CLASSES[2] / "Sooty_Albatross_0010.jpg"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=f"cannot read the image {path}"):
        loaded(tmp_path)


@pytest.mark.parametrize(
    "lists", [["images.txt"], ["parts/parts.txt", "parts/part_locs.txt"], ["bounding_boxes.txt"], ["classes.txt"]]
)
def test_empty_lists_are_named(tmp_path: Path, lists: list[str]):
    folder = tree(tmp_path)
    for name in lists:
        (folder / name).write_text("")
    with pytest.raises(UserError, match=f"{lists[0]} is empty. Restore this file"):
        loaded(tmp_path)


def test_a_box_outside_its_image_is_refused(tmp_path: Path):
    edit(tree(tmp_path) / "bounding_boxes.txt", "4 12.0", "4 60.0")
    with pytest.raises(UserError, match=r"_0004.jpg is 60 x 40 pixels, and its box lies outside"):
        loaded(tmp_path)


def test_unknown_classes_are_named_with_those_that_are_near(tmp_path: Path):
    tree(tmp_path)
    with pytest.raises(UserError, match=r"has no class Layson Albatross: choose names like Laysan Albatross"):
        loaded(tmp_path, labels=["Layson Albatross", "Sooty Albatross"])


@pytest.mark.parametrize(
    ("options", "message"),
    [({"labels": []}, "at least one"), ({"labels": ["a", "a"]}, "each once"), ({"image_size": 0}, "image_size must"),
     ({"crop": "centre"}, "'whole' or 'box', not 'centre'")],
)  # fmt: skip
def test_impossible_options(options: dict[str, object], message: str):
    with pytest.raises(UserError, match=message):
        CUB200(**options)  # type: ignore[arg-type]


def test_the_configured_sparrows():
    groups = yaml.safe_load((ROOT / "conf" / "data" / "cub200.yaml").read_text())["groups"]
    assert len(set(groups["sparrows"])) == 20 and len(set(groups["all_sparrows"])) == 21
    assert set(groups["all_sparrows"]) - set(groups["sparrows"]) == {"White throated Sparrow"}


@pytest.mark.data
@pytest.mark.skipif("XCNN_DATA" not in os.environ, reason="needs CUB-200-2011: set XCNN_DATA to the data root")
def test_real_counts():
    root = Path(os.environ["XCNN_DATA"])
    if not (root / "CUB_200_2011").is_dir():
        pytest.skip("there is no CUB-200-2011 below XCNN_DATA")
    data = loaded(root, image_size=32)
    assert data.train.parts.shape == (len(data.train), 15, 3) and data.part_names[0] == "back"
    assert (data.test.boxes[:, 2:] > data.test.boxes[:, :2]).all()
    if len(data.classes) == 100:
        settings = yaml.safe_load((ROOT / "conf" / "data" / "cub200_100.yaml").read_text())
        assert (len(data.train), len(data.test)) == (2999, 2903) and tuple(settings["data"]["labels"]) == data.classes
        assert data.name == "CUB-200-2011 (100 of 200 classes, cropped to the boxes, 32 px)"
        assert settings["n_classes"] == 100 and {n for ns in settings["groups"].values() for n in ns} < set(
            data.classes
        )
        return
    assert (len(data.train), len(data.test), len(data.classes)) == (5994, 5794, 200)
    groups = yaml.safe_load((ROOT / "conf" / "data" / "cub200.yaml").read_text())["groups"]
    assert tuple(groups["all_sparrows"]) == data.classes[112:133]
