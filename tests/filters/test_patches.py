"""The strongest images of filters, by sorting all of them."""

import pytest
import torch

from xcnn.errors import UserError
from xcnn.filters import top_patches
from xcnn.models import conv3, split_at


def test_strongest_images_and_their_places() -> None:
    torch.manual_seed(0)
    split = split_at(conv3(), "relu2")
    images = torch.rand(11, 3, 12, 16)
    found = top_patches(split, images.split(4), count=3)
    with torch.no_grad():
        maps = split.trunk(images)
    expected = maps.amax((2, 3)).T.sort(1, descending=True)
    torch.testing.assert_close(found.activation, expected.values[:, :3])
    live = found.activation[:, 2] > 0
    assert live.sum() > 20 and torch.equal(found.image[live], expected.indices[:, :3][live])
    filters = torch.arange(64)[:, None].expand(-1, 3)
    torch.testing.assert_close(maps[found.image, filters, found.row, found.column], found.activation)


def test_refused() -> None:
    split = split_at(conv3(), "relu2")
    with pytest.raises(UserError, match="2 images have no 3 strongest"):
        top_patches(split, [torch.rand(2, 3, 8, 8)], 3)
    with pytest.raises(UserError, match="not maps"):
        top_patches(split_at(conv3(), "flatten"), [torch.rand(2, 3, 8, 8)], 1)
