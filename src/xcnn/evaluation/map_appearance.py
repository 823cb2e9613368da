"""What maps look like, image by image: how sparse, how fine, how far on the edges of the picture."""

from collections.abc import Mapping

import torch
from torch import Tensor

from xcnn.attribution import Method, upsample
from xcnn.data.pictures import PictureBatch
from xcnn.evaluation.subject import Subject
from xcnn.metrics import edge_share, extent, fine_detail, gini, share_above

QUANTITIES = ("share_above", "gini", "edge_share", "fine_detail", "extent")


@torch.inference_mode()
def appearance(subject: Subject, methods: Mapping[str, Method], batch: PictureBatch) -> dict[str, Tensor]:
    """`quantity/method` (n,) of each method's maps, at the pictures' size, for the class predicted."""
    pictures = subject.scaled(batch)
    inputs = subject.normalise(pictures)
    found: dict[str, Tensor] = {}
    for name, method in methods.items():
        with subject.autocast():
            maps = upsample(method(inputs), pictures.shape[2:])
        looks = (share_above(maps), gini(maps), edge_share(maps, pictures), fine_detail(maps), extent(maps))
        found |= {f"{quantity}/{name}": each for quantity, each in zip(QUANTITIES, looks, strict=True)}
    return found
