"""Mirrors and shifts equal padding by reflection and cropping, image by image."""

import pytest
import torch
import torch.nn.functional as F

from xcnn.errors import UserError
from xcnn.training import FlipCrop


def candidates(image: torch.Tensor, padding: int) -> list[torch.Tensor]:
    """Every crop of the reflected image, each also mirrored."""
    height, width = image.shape[1:]
    padded = F.pad(image[None], [padding] * 4, mode="reflect")[0]
    crops = [padded[:, y : y + height, x : x + width] for y in range(2 * padding + 1) for x in range(2 * padding + 1)]
    return crops + [crop.flip(2) for crop in crops]


def test_each_image_is_one_of_its_crops_and_all_occur() -> None:
    torch.manual_seed(0)
    image = torch.rand(3, 5, 7)
    batch = image.repeat(600, 1, 1, 1)
    before = batch.clone()
    found = FlipCrop(2)(batch)
    assert torch.equal(batch, before) and found.shape == batch.shape
    expected = torch.stack(candidates(image, 2)).flatten(1)
    match = (found.flatten(1)[:, None] == expected).all(2)
    assert match.sum(1).eq(1).all()  # the image is random, so no two crops are alike
    counts = match.sum(0)
    assert len(counts) == 50 and counts.min() > 0
    assert 0.4 < counts[25:].sum() / 600 < 0.6  # half are mirrored


def test_images_are_drawn_for_separately_and_by_torchs_generator() -> None:
    images = torch.rand(64, 1, 8, 8)
    augment = FlipCrop(3)
    torch.manual_seed(5)
    first = augment(images)
    assert torch.rand(1) != torch.rand(1, generator=torch.Generator().manual_seed(5))  # it was drawn from
    torch.manual_seed(5)
    assert torch.equal(augment(images), first)
    assert not torch.equal(augment(images), first)


def test_no_padding_only_mirrors_and_bytes_stay_bytes() -> None:
    images = torch.randint(0, 255, (40, 3, 4, 4), dtype=torch.uint8)
    found = FlipCrop(0)(images)
    same, mirrored = ((found == other).flatten(1).all(1) for other in (images, images.flip(3)))
    assert found.dtype == torch.uint8 and (same | mirrored).all() and same.any() and mirrored.any()


def test_out_of_range() -> None:
    with pytest.raises(UserError, match="at least 0"):
        FlipCrop(-1)
    with pytest.raises(UserError, match="4 x 9"):
        FlipCrop(4)(torch.rand(1, 3, 4, 9))
