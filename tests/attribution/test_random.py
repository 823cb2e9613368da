"""The control of chance."""

import torch

from tests.attribution.networks import headed, pictures
from xcnn.attribution import Random


def test_an_image_has_its_own_map_in_any_batch() -> None:
    model, images = headed("gap, linear"), pictures(3, 4, 7)
    maps = Random(model, "features")(images)
    assert torch.equal(Random(model, "features")(images.flip(0)), maps.flip(0))
    assert torch.equal(Random(model, "features")(images[1:2], 4), maps[1:2])
    assert torch.equal(Random(model, "features")(images.to(memory_format=torch.channels_last)), maps)
    assert not torch.equal(maps[0], maps[1])
    assert not torch.equal(Random(model, "features", seed=1)(images), maps)


def test_uniform() -> None:
    images = pictures(50, 4, 7)
    maps = Random(headed("gap, linear"), "features")(images)
    assert maps.shape == (50, 4, 7) and maps.min() >= 0 and maps.max() < 1
    assert abs(maps.mean() - 0.5) < 0.03 and abs(maps.var() - 1 / 12) < 0.01
    assert (torch.histc(maps, 10, 0, 1) - 140).abs().max() < 50
