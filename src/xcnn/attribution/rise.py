"""Randomized input sampling for explanation, RISE (Petsiuk et al. 2018)."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xcnn.attribution.batch import Batch
from xcnn.attribution.black_box_method import BlackBoxMethod
from xcnn.device import at_least_float32
from xcnn.errors import UserError


class RISE(BlackBoxMethod):
    """sum_i p_c(I M_i) M_i / (E[M] N): the mean of random masks, weighted by the class's probability (eq. 6).

    A mask is a grid of cells that are 1 with probability `keep`, enlarged bilinearly by a cell more than the image and
    cut at a random place, as in the authors' code. All images see the same masks, which depend on the seed and the
    images' size alone; so an image has the same map in any batch and shard.

    Args:
        masks: number of masks N.
        cells: cells along each side of a mask.
        keep: probability of a cell, which is E[M].
        seed: random seed of the masks.
        model, chunk: as for `BlackBoxMethod`.
    """

    def __init__(
        self,
        model: nn.Module,
        masks: int = 4000,
        cells: int = 7,
        keep: float = 0.5,
        seed: int = 0,
        chunk: int | None = None,
    ):
        super().__init__(model, chunk)
        if masks < 1 or cells < 1 or not 0 < keep < 1:
            raise UserError(
                f"masks is {masks}, cells {cells} and keep {keep}; give at least 1 mask, at least 1 cell, and a "
                "probability between 0 and 1."
            )
        self.count, self.cells, self.keep, self.seed = masks, cells, keep, seed

    def maps(self, batch: Batch) -> Tensor:
        masks = _Masks(self.count, self.cells, self.keep, self.seed, (batch.images.shape[2], batch.images.shape[3]))
        batch.ablations += self.count
        found = []
        for image, target in zip(batch.images, batch.targets, strict=True):
            total = torch.zeros(image.shape[1:], dtype=batch.score.dtype, device=image.device)

            def masked(part: slice, image: Tensor = image) -> Tensor:
                return image * masks(part, image)[:, None]

            def probability(logits: Tensor, part: slice, target: Tensor = target, total: Tensor = total) -> Tensor:
                shares = at_least_float32(logits).softmax(1)[:, target]
                total += torch.einsum("n,nhw->hw", shares, masks(part, total))
                return shares

            self.altered(self.count, masked, probability)
            found.append(total / (self.keep * self.count))
        return torch.stack(found) if found else batch.images.new_zeros(batch.images[:, 0].shape)


class _Masks:
    """The masks, of which only a part is enlarged at a time."""

    def __init__(self, count: int, cells: int, keep: float, seed: int, size: tuple[int, int]) -> None:
        generator = np.random.default_rng(seed)
        self.grids = torch.from_numpy((generator.random((count, cells, cells)) < keep).astype(np.float32))
        self.size, self.cell = size, [-(-side // cells) for side in size]  # pixels of a cell
        self.shifts = [generator.integers(0, cell, count).tolist() for cell in self.cell]
        self.enlarged = [(cells + 1) * cell for cell in self.cell]

    def __call__(self, part: slice, like: Tensor) -> Tensor:
        """Masks (n, H, W) of a slice of them, on the device and in the type of a tensor."""
        grids = self.grids[part, None].to(like)
        whole = F.interpolate(grids, self.enlarged, mode="bilinear", align_corners=False)[:, 0]
        (height, width), (tops, lefts) = self.size, (shifts[part] for shifts in self.shifts)
        pairs = zip(whole, tops, lefts, strict=True)
        return torch.stack([mask[top : top + height, left : left + width] for mask, top, left in pairs])
