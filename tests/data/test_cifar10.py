"""CIFAR-10 in both layouts, and what is said of trees that are not whole."""

import hashlib
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from xcnn.data import CIFAR10, image_folder
from xcnn.data.cifar10 import CLASSES
from xcnn.errors import Missing, UserError


def pictures(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 32, 32, 3), np.uint8)


def tree(root: Path, ending: str = ".png", per_class: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """An image-folder tree of random pictures below `root`; its training and test images in the order of the files."""
    parts = []
    for seed, part in enumerate(("train", "test")):
        images = pictures(per_class * len(CLASSES), seed)
        for index, pixels in enumerate(images):
            folder = root / "cifar10" / part / CLASSES[index // per_class]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{index:04d}{ending}")
        parts.append(images)
    return parts[0], parts[1]


def batches(root: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, np.ndarray]:
    """torchvision's layout with four images per batch file, and torchvision told the checksums of these files."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    images = pictures(24, 2)
    lists: dict[str, list[list[str]]] = {"train_list": [], "test_list": []}
    for batch in range(6):
        pixels = images[4 * batch : 4 * batch + 4]
        name = f"data_batch_{batch + 1}" if batch < 5 else "test_batch"
        entry = {"data": pixels.transpose(0, 3, 1, 2).reshape(4, -1), "labels": [(batch + k) % 10 for k in range(4)]}
        lists["train_list" if batch < 5 else "test_list"].append([name, write(folder / name, entry)])
    monkeypatch.setattr(datasets.CIFAR10, "train_list", lists["train_list"])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", lists["test_list"])
    meta = {"filename": "batches.meta", "key": "label_names"}
    meta["md5"] = write(folder / "batches.meta", {"label_names": list(CLASSES)})
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    return images[:20], images[20:]


def write(path: Path, value: object) -> str:
    content = pickle.dumps(value)
    path.write_bytes(content)
    return hashlib.md5(content).hexdigest()


def loaded(root: Path) -> CIFAR10:
    data = CIFAR10(root)
    data.setup()
    return data


def test_reads_an_image_folder_tree(tmp_path: Path):
    train, test = tree(tmp_path)
    data = loaded(tmp_path)
    assert np.array_equal(data.train.images.permute(0, 2, 3, 1).numpy(), train)
    assert np.array_equal(data.test.images.permute(0, 2, 3, 1).numpy(), test)
    assert data.train.labels.tolist() == [label for label in range(10) for _ in range(2)]
    assert (data.name, data.classes) == ("CIFAR-10", CLASSES)


@pytest.mark.parametrize("ending", [".jpg", ".JPEG"])
def test_a_jpeg_tree_says_so_in_its_name(tmp_path: Path, ending: str):
    train, _ = tree(tmp_path, ending)
    data = loaded(tmp_path)
    assert data.name == "CIFAR-10 (JPEG)"
    assert data.train.images.shape == (20, 3, 32, 32)
    means = data.train.images.double().mean((2, 3)).numpy()
    assert np.abs(means - train.mean((1, 2))).max() < 8  # lossy, but in the order of the files


def test_reads_torchvisions_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    train, test = batches(tmp_path, monkeypatch)
    data = loaded(tmp_path)
    assert np.array_equal(data.train.images.permute(0, 2, 3, 1).numpy(), train)
    assert np.array_equal(data.test.images.permute(0, 2, 3, 1).numpy(), test)
    assert data.train.labels.tolist() == [(batch + k) % 10 for batch in range(5) for k in range(4)]
    assert data.test.labels.tolist() == [5, 6, 7, 8]
    assert data.name == "CIFAR-10"


def test_damaged_batches_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    batches(tmp_path, monkeypatch)
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").write_bytes(b"half a file")
    with pytest.raises(UserError, match=r"cifar-10-batches-py is damaged .*make data-cifar10") as caught:
        loaded(tmp_path)
    assert not isinstance(caught.value, Missing)


@pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta"])
def test_missing_batches_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    batches(tmp_path, monkeypatch)
    (tmp_path / "cifar-10-batches-py" / name).unlink()
    with pytest.raises(Missing, match=f"cifar-10-batches-py is incomplete: it lacks {name}. .*make data-cifar10"):
        loaded(tmp_path)


def test_absent_data_set_names_both_places_and_the_command(tmp_path: Path):
    with pytest.raises(Missing) as caught:
        loaded(tmp_path)
    message = str(caught.value)
    assert f"{tmp_path}/cifar-10-batches-py" in message
    assert f"{tmp_path}/cifar10" in message
    assert "make data-cifar10" in message


def test_missing_class_is_named(tmp_path: Path):
    tree(tmp_path)
    (tmp_path / "cifar10" / "test" / "frog").rename(tmp_path / "frog")
    with pytest.raises(Missing, match=r"cifar10/test lacks the class folder frog \(expected: airplane, "):
        loaded(tmp_path)


def test_empty_class_is_named(tmp_path: Path):
    tree(tmp_path)
    for path in (tmp_path / "cifar10" / "train" / "deer").iterdir():
        path.rename(path.with_suffix(".txt"))
    with pytest.raises(Missing, match=r"cifar10/train has no images .* of deer"):
        loaded(tmp_path)


@pytest.mark.parametrize("keep", [0, 100], ids=["empty", "truncated"])
def test_unreadable_image_is_named(tmp_path: Path, keep: int):
    tree(tmp_path, ".jpg")
    path = tmp_path / "cifar10" / "train" / "ship" / "0017.jpg"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=f"cannot read the image {path}"):
        loaded(tmp_path)


def test_image_of_another_size_is_named(tmp_path: Path):
    tree(tmp_path)
    path = tmp_path / "cifar10" / "test" / "cat" / "0006.png"
    Image.new("RGB", (40, 32)).save(path)
    with pytest.raises(UserError, match=f"{path} is 40 x 32, expected 32 x 32 pixels"):
        loaded(tmp_path)


def test_grey_images_become_three_equal_channels(tmp_path: Path):
    (tmp_path / "grey").mkdir()
    Image.new("L", (4, 3), 77).save(tmp_path / "grey" / "a.png")
    data = image_folder(tmp_path, ("grey",), (3, 4))
    assert torch.equal(data.images, torch.full((1, 3, 3, 4), 77, dtype=torch.uint8))


def test_a_process_decodes_a_tree_once_and_nobody_writes_to_it(tmp_path: Path):
    tree(tmp_path)
    first, second = loaded(tmp_path), loaded(tmp_path)
    assert first.train.images.data_ptr() == second.train.images.data_ptr()
    before = first.train.images.clone()
    for images, _ in first.train_dataloader():
        images.zero_()
    assert torch.equal(second.train.images, before)


def test_a_failed_reading_is_not_remembered(tmp_path: Path):
    with pytest.raises(UserError):
        loaded(tmp_path)
    tree(tmp_path)
    assert len(loaded(tmp_path).train) == 20


@pytest.mark.data
@pytest.mark.skipif("XCNN_DATA" not in os.environ, reason="needs CIFAR-10: set XCNN_DATA to the data root")
def test_real_counts():
    data = loaded(Path(os.environ["XCNN_DATA"]))
    assert torch.bincount(data.train.labels).tolist() == [5000] * 10
    assert torch.bincount(data.test.labels).tolist() == [1000] * 10
    assert data.train.images.shape == (50_000, 3, 32, 32)
    means = data.train.images.double().mean((0, 2, 3)) / 255
    assert torch.allclose(means, torch.tensor([0.4914, 0.4822, 0.4465], dtype=torch.float64), atol=1e-3)


def test_resized_images(tmp_path: Path) -> None:
    tree(tmp_path)
    data = [CIFAR10(tmp_path, image_size=size) for size in (32, 64)]
    for each in data:
        each.setup()
    plain, resized = data
    assert (plain.name, resized.name) == ("CIFAR-10", "CIFAR-10, 64 px")
    assert resized.train.images.shape == (20, 3, 64, 64)
    assert torch.equal(resized.test.labels, plain.test.labels)
    # Enlarging twice by a bilinear rule and halving by the mean of 2 x 2 gives a smoothed image of the same mean.
    means = [each.test.images.double().mean((2, 3)) for each in data]
    torch.testing.assert_close(means[1], means[0], atol=1.0, rtol=0)
    with pytest.raises(UserError, match="image_size must be a positive number"):
        CIFAR10(tmp_path, image_size=0)
