"""Right for the right reasons (Ross et al. 2017): feedback on explanations as a penalty in training.

A person marks where an image's class is not to be decided. The penalty of eq. 1 is the squared gradient there of the
sum of all log-probabilities,

    strength * mean over images of sum_d (A_d  d/dx_d sum_k log p_k)^2

with A_d 1 on the mask and 0 elsewhere, x in [0, 1]; the paper's sum over images is a mean, as that of the data term is.
"""

import hashlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader

from xcnn.data.tensors import Labelled, TensorDataModule
from xcnn.errors import UserError

FEEDBACK = "feedback"  # name of the masks among those of the training images


class RightReasons(nn.Module):
    """The penalty, and the masks that it learns from.

    Args:
        strength: lambda_1 of eq. 1, at least 0.
        masks: name of masks that the data set has of its training images (`mark`), whose pixels are not to matter; or a
            folder of a person's masks, a PNG of an image's size for each image spoken of, `train-00012.png` of the
            thirteenth, in which all that is not black is not to matter.
        share: share of the images with a mask whose mask is given, in [0, 1].
        seed: random seed of which these are; those of a smaller share are among those of a larger one.

    Raises:
        UserError: a strength below 0 or a share outside [0, 1].
    """

    def __init__(self, strength: float, masks: str | Path, share: float = 1.0, seed: int = 0):
        super().__init__()
        if not 0 <= strength < float("inf") or not 0 <= share <= 1:
            raise UserError(f"choose a finite strength of at least 0 and a share in [0, 1], not {strength}, {share}.")
        self.strength, self.masks, self.share, self.seed = strength, masks, share, seed

    def forward(
        self, images: Tensor, logits: Tensor, masks: Tensor, total: int | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The penalty, a scalar, and its parts for the log: the share of the squared gradient on the masks.

        Args:
            images: (N, C, H, W) in [0, 1], with a gradient.
            logits: (N, classes) of them.
            masks: (N, H, W), not 0 where nothing is to matter.
            total: number of images that the mean is over, where those without a mask are not among them.
        """
        (slope,) = torch.autograd.grad(logits.log_softmax(1).sum(), images, create_graph=True)
        squared = slope.square().sum(1)
        inside = (squared * (masks != 0)).flatten(1).sum(1)
        share = inside.detach().sum() / squared.detach().sum().clamp(min=torch.finfo(squared.dtype).tiny)
        return self.strength * inside.sum() / (total or len(images)), {"wrong_reasons": share}

    def given(self, data: TensorDataModule) -> Tensor:
        """Masks of the training images, bool (N, H, W), as a person or the data set gives them.

        Raises:
            UserError: there are no such masks; one is of another size than its image, or of no image.
        """
        size = (len(data.train), *data.train.images.shape[2:])
        if str(self.masks) in data.train.masks:
            found = data.train.masks[str(self.masks)] > 0
        elif Path(self.masks).is_dir():
            found = _read(Path(self.masks), size)
        else:
            raise UserError(
                f"{data.name} has no masks {str(self.masks)!r}, nor is there such a folder; there are: "
                f"{', '.join(data.train.masks) or 'none'}. Give a folder of PNGs, or another data set."
            )
        masked = found.flatten(1).any(1).nonzero().flatten()
        order = torch.randperm(len(masked), generator=torch.Generator().manual_seed(self.seed))
        found = found.clone()
        found[masked[order[round(self.share * len(masked)) :]]] = False
        return found


class Feedback(TensorDataModule):
    """A data set whose training batches have masks as well: images, labels, masks.

    Args:
        data: the data set; its validation and test images are as they are.
        masks: bool (N, H, W), of its training images in their order.

    Raises:
        UserError: when set up, masks that are not one of the size of each training image.
    """

    def __init__(self, data: TensorDataModule, masks: Tensor):
        super().__init__(data.root, data.batch_size, data.val_share, data.seed, data.train_size, data.test_size)
        self.source, self.masks = data, masks

    def setup(self, stage: str = "") -> None:
        self.source.setup(stage)
        data, train = self.source, self.source.train
        expected = (len(train), *train.images.shape[2:])
        if self.masks.shape != expected:
            raise UserError(
                f"masks {tuple(self.masks.shape)} for {expected[0]} training images of {expected[1]} x {expected[2]} "
                "px: give a mask of the same size for each."
            )
        self.name, self.classes, self.manifest = data.name, data.classes, data.manifest
        self.train, self.val, self.test = (
            Labelled(train.images, train.labels, {FEEDBACK: self.masks}),
            data.val,
            data.test,
        )
        self.pictures = data.pictures

    def train_dataloader(self) -> DataLoader:
        return self.loader(self.train, shuffle=True, mask=FEEDBACK)

    @property
    def digest(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of the masks."""
        return hashlib.sha256(self.masks.contiguous().numpy().data).hexdigest()[:16]


def _read(folder: Path, size: tuple[int, ...]) -> Tensor:
    found = torch.zeros(size, dtype=torch.bool)
    files = sorted(folder.glob("*.png"))
    if not files:
        raise UserError(f"{folder} has no masks: give PNGs named after training images, such as train-00012.png.")
    for file in files:
        number = file.stem.rpartition("-")[2]
        if not number.isdecimal() or int(number) >= size[0]:
            raise UserError(f"{file} is of none of the {size[0]} training images: name it train-<number, from 0>.png.")
        with Image.open(file) as picture:
            mask = np.asarray(picture.convert("L")) > 0
        if mask.shape != size[1:]:
            raise UserError(
                f"{file} is {mask.shape[1]} x {mask.shape[0]} px and its image {size[2]} x {size[1]}: give a mask of "
                "the image's size."
            )
        found[int(number)] = torch.from_numpy(mask)
    return found
