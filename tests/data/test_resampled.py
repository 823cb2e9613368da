"""A resample has as many images, drawn with replacement, with their labels and masks."""

from functools import partial

import torch

from xcnn.data import Resampled, Shapes
from xcnn.data.shapes import draw

SOURCE = partial(Shapes, n_train=200, n_test=20, draw_seed=0)


def drawn(seed: int | None) -> Resampled:
    data = Resampled(SOURCE, seed)
    data.setup()
    return data


def test_a_resample_is_of_the_data_sets_own_images_some_of_them_several_times() -> None:
    whole, data = draw(200, 32, 0, "train"), drawn(3)
    assert len(data.train) == 200 and data.name == "shapes" and torch.equal(data.test.images, drawn(None).test.images)
    same = (data.train.images[:, None, :, 8::8, 8::8] == whole.images[None, :, :, 8::8, 8::8]).flatten(2).all(2)
    assert (same.sum(1) == 1).all()
    places = same.int().argmax(1)
    assert torch.equal(data.train.labels, whole.labels[places])
    assert torch.equal(data.train.masks["object"], whole.masks["object"][places])
    assert 0.55 < len(places.unique()) / 200 < 0.72  # 1 - 1/e of them
    assert data.manifest == drawn(3).manifest != drawn(4).manifest


def test_without_a_seed_each_image_comes_once() -> None:
    assert torch.equal(drawn(None).train.images, draw(200, 32, 0, "train").images)
