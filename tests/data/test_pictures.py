"""Pictures read from files: pixels and boxes through resizing and cropping, broken files, what is kept in memory."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

from xcnn.data import PictureFiles, PictureTensors
from xcnn.errors import UserError


def draw(path: Path, width: int, height: int, seed: int = 0) -> np.ndarray:
    """A file of smooth random colours; its pixels (PNG: as they are in the file)."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), np.uint8)
    image = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    image.save(path)
    return np.asarray(image)


def files(folder: Path, boxes: list[list[list[float]]], size: tuple[int, int] = (40, 30), **options) -> PictureFiles:
    """A PNG of `size` (width, height) for each list of boxes, labelled 10, 11, ..."""
    paths = [folder / f"picture{index}.png" for index in range(len(boxes))]
    for seed, path in enumerate(paths):
        draw(path, *size, seed)
    tensors = [torch.tensor(each, dtype=torch.float32).reshape(-1, 4) for each in boxes]
    return PictureFiles(paths, torch.arange(10, 10 + len(boxes)), tensors, **options)


def test_without_resize_and_crop_the_files_pixels_and_boxes_come_back(tmp_path: Path):
    pictures = files(tmp_path, [[[1, 2, 5, 7]], [[0, 0, 40, 30], [3, 3, 4, 4]]])
    batch = pictures.read([1, 0])
    assert batch.ids == ("picture1", "picture0") and batch.labels.tolist() == [11, 10]
    assert [boxes.tolist() for boxes in batch.boxes] == [[[0, 0, 40, 30], [3, 3, 4, 4]], [[1, 2, 5, 7]]]
    assert np.array_equal(batch.images[0].permute(1, 2, 0).numpy(), np.asarray(Image.open(tmp_path / "picture1.png")))
    assert batch.images.dtype == torch.uint8 and batch.broken == {}


def test_boxes_are_scaled_shifted_clipped_and_dropped(tmp_path: Path):
    # 80 x 40 with its shorter side at 20 is 40 x 20: a half. The crop of 16 starts at (40 - 16) / 2 = 12 across and at
    # (20 - 16) / 2 = 2 down, so that x becomes x / 2 - 12 and y becomes y / 2 - 2.
    inside, clipped, outside, touching = [30, 10, 50, 20], [10, 0, 40, 30], [0, 0, 20, 40], [56, 8, 80, 20]
    pictures = files(tmp_path, [[inside, clipped, outside, touching], [outside], []], (80, 40), resize=20, crop=16)
    batch = pictures.read(range(3))
    assert batch.images.shape == (3, 3, 16, 16)
    assert batch.boxes[0].tolist() == [[3, 3, 13, 8], [0, 0, 8, 13]]
    assert [boxes.shape for boxes in batch.boxes[1:]] == [(0, 4), (0, 4)]
    assert all(boxes.dtype == torch.float32 for boxes in batch.boxes)


def test_a_box_past_the_border_is_clipped_to_the_image(tmp_path: Path):
    pictures = files(tmp_path, [[[-1, -2, 41, 30], [39, 5, 42, 9]]])
    assert pictures.read([0]).boxes[0].tolist() == [[0, 0, 40, 30], [39, 5, 40, 9]]


@pytest.mark.parametrize(
    ("size", "resize", "crop"), [((53, 37), 32, 26), ((37, 53), 32, 27), ((64, 64), 64, 48), ((31, 60), 40, 40)]
)
def test_pixels_and_boxes_are_torchvisions(tmp_path: Path, size: tuple[int, int], resize: int, crop: int):
    boxes = [[4.0, 6, 30, 33], [12, 11, 25, 18], [0, 0, *size]]
    batch = files(tmp_path, [boxes], size, resize=resize, crop=crop).read([0])
    oracle = v2.Compose([v2.Resize(resize), v2.CenterCrop(crop)])
    image, expected = oracle(
        Image.open(tmp_path / "picture0.png"),
        tv_tensors.BoundingBoxes(torch.tensor(boxes), format="XYXY", canvas_size=size[::-1]),
    )
    assert np.array_equal(batch.images[0].permute(1, 2, 0).numpy(), np.asarray(image))
    assert torch.allclose(batch.boxes[0], expected.as_subclass(torch.Tensor), atol=1e-4)


def test_a_part_may_repeat_pictures_and_be_cut_anyhow(tmp_path: Path):
    pictures = files(tmp_path, [[[0, 0, 9, 9]]] * 5, resize=16, crop=16)
    whole = pictures.read(range(5))
    assert torch.equal(pictures.read([3, 3, 1]).images, whole.images[[3, 3, 1]])
    parts = list(pictures.read_ahead([range(2), range(2, 4), [4]]))
    assert [part.ids for part in parts] == [whole.ids[:2], whole.ids[2:4], whole.ids[4:]]
    assert torch.equal(torch.cat([part.images for part in parts]), whole.images)
    assert list(pictures.read_ahead([])) == []


def test_reading_ahead_raises_in_its_turn(tmp_path: Path):
    pictures = files(tmp_path, [[]] * 3)
    pictures.paths[1].unlink()
    parts = pictures.read_ahead([[0], [1], [2]])
    assert next(parts).ids == ("picture0",)
    with pytest.raises(UserError, match=r"picture1\.png"):
        next(parts)


@pytest.mark.parametrize("keep", [0, 150], ids=["empty", "truncated"])
def test_broken_files_are_refused_or_left_out_by_name(tmp_path: Path, keep: int):
    pictures = files(tmp_path, [[[0, 0, 9, 9]], [[1, 1, 3, 3]], [[2, 2, 5, 5]]], resize=16, crop=16)
    path = pictures.paths[1]
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=rf"cannot read the image {path} .*broken=skip"):
        pictures.read(range(3))
    pictures.broken = "skip"
    for _ in range(2):  # the second time from memory
        batch = pictures.read([2, 1, 0])
        assert batch.ids == ("picture2", "picture0") and batch.labels.tolist() == [12, 10]
        assert batch.images.shape == (2, 3, 16, 16) and len(batch.boxes) == 2
        assert list(batch.broken) == ["picture1"] and str(path) in batch.broken["picture1"]
    alone = pictures.read([1])
    assert alone.ids == () and alone.boxes == [] and alone.images.shape == (0, 3, 16, 16) and alone.labels.shape == (0,)


def test_kept_images_are_bounded_and_not_the_callers_to_change(tmp_path: Path):
    pictures = files(tmp_path, [[[0, 0, 40, 30]]] * 3, resize=16, crop=16, cache_bytes=2 * 3 * 16 * 16)
    before = [pictures.read([index]) for index in range(3)]
    for batch in before:
        batch.images.zero_()
        batch.boxes[0].zero_()
    for path in pictures.paths:
        path.unlink()
    assert pictures.read([0, 1]).images.any(1).any(1).any(1).all()
    assert pictures.read([0]).boxes[0].tolist() == [[0, 0, 16, 16]]
    with pytest.raises(UserError, match=r"picture2\.png"):
        pictures.read([2])


def test_grey_palette_and_cmyk_files_become_rgb(tmp_path: Path):
    modes = {"L": "grey.png", "P": "palette.png", "CMYK": "cmyk.jpg", "RGBA": "alpha.png"}
    for mode, name in modes.items():
        Image.new("RGB", (8, 8), (204, 204, 204)).convert(mode).save(tmp_path / name)
    pictures = PictureFiles(
        [tmp_path / name for name in modes.values()], torch.zeros(4, dtype=torch.int64), [torch.empty(0, 4)] * 4
    )
    images = pictures.read(range(4)).images
    assert images.shape == (4, 3, 8, 8) and (images.int() - 204).abs().max() <= 2


def test_files_of_several_sizes_need_a_crop(tmp_path: Path):
    draw(tmp_path / "a.png", 10, 12)
    draw(tmp_path / "b.png", 12, 10)
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    pictures = PictureFiles(paths, torch.zeros(2, dtype=torch.int64), [torch.empty(0, 4)] * 2)
    with pytest.raises(UserError, match=r"a, b, \.\.\. have several sizes .* set resize and crop"):
        pictures.read([0, 1])
    assert pictures.read([1]).images.shape == (1, 3, 10, 12)


def test_a_picture_smaller_than_the_crop_is_named_even_where_broken_ones_are_skipped(tmp_path: Path):
    pictures = files(tmp_path, [[]], crop=32, broken="skip")
    with pytest.raises(UserError, match=r"picture0\.png is 40 x 30 pixels, smaller than the crop of 32: set resize"):
        pictures.read([0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resize": 16, "crop": 17}, r"crop \(17\) is larger than .* \(16\)"),
        ({"resize": 0}, "positive"),
        ({"crop": -1}, "positive"),
        ({"broken": "ignore"}, "'refuse' or 'skip', not 'ignore'"),
    ],
)
def test_impossible_options(options: dict[str, int], message: str):
    with pytest.raises(UserError, match=message):
        PictureFiles([], torch.empty(0), [], **options)


def test_tensors_are_read_like_files():
    images = torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).reshape(2, 3, 4, 4)
    boxes = [torch.tensor([[0.0, 0, 2, 2]]), torch.empty(0, 4)]
    pictures = PictureTensors(images, torch.tensor([5, 6]), boxes, ["a", "b"])
    batch = pictures.read([1, 0, 1])
    assert len(pictures) == 2 and batch.ids == ("b", "a", "b") and batch.labels.tolist() == [6, 5, 6]
    assert torch.equal(batch.images, images[[1, 0, 1]]) and batch.boxes[1].tolist() == [[0, 0, 2, 2]]
    batch.boxes[1].zero_()
    assert pictures.read([0]).boxes[0].tolist() == [[0, 0, 2, 2]]
