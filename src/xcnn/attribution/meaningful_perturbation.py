"""Meaningful perturbation (Fong & Vedaldi 2017): the smallest smooth mask whose blur takes the class away."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms.functional import gaussian_blur

from xcnn.attribution.batch import Batch
from xcnn.attribution.black_box_method import BlackBoxMethod
from xcnn.attribution.input_method import fitting
from xcnn.attribution.maps import upsample
from xcnn.device import at_least_float32
from xcnn.errors import UserError

SUPPRESSED = 0.99  # of the class's probability by the disc that a mask starts from


class MeaningfulPerturbation(BlackBoxMethod):
    """1 - m for the mask m in [0, 1] that minimises eq. 5 by Adam: where the image is blurred to take the class away.

    sparsity ||1 - m||_1 + smoothness sum_u |grad m(u)|^power + E[p_c(m x + (1 - m) blur(x))], over random shifts of x.
    The mask has few cells and is enlarged smoothly. It starts as the smallest disc in the middle that takes 99 % of
    what blurring the whole image takes. Constants are the paper's, for images of 224 pixels. The shifts depend on the
    seed alone; so an image has the same map in any batch and shard. All images of a chunk are optimised at once.

    Args:
        steps: steps of Adam.
        cells: cells along each side of the mask.
        rate: learning rate.
        sparsity: weight of the mask's area, lambda_1.
        smoothness: weight of the total variation, lambda_2.
        power: exponent of the total variation, beta.
        jitter: the image is shifted by up to half of so many pixels each way at each step.
        blur: standard deviation of the blur that takes evidence away, in pixels.
        spread: standard deviation of the blur that smooths the enlarged mask, in pixels.
        seed: random seed of the shifts.
        model: as for `BlackBoxMethod`.
        chunk: number of images at a time; None fits the free memory.
    """

    def __init__(
        self,
        model: nn.Module,
        steps: int = 300,
        cells: int = 28,
        rate: float = 0.1,
        sparsity: float = 1e-4,
        smoothness: float = 1e-2,
        power: float = 3.0,
        jitter: int = 4,
        blur: float = 10.0,
        spread: float = 5.0,
        seed: int = 0,
        chunk: int | None = None,
    ):
        super().__init__(model, chunk)
        if steps < 1 or cells < 1 or rate <= 0:
            raise UserError(
                f"steps is {steps}, cells {cells} and rate {rate}; give at least 1 of both, and a rate above 0."
            )
        if min(sparsity, smoothness, jitter, spread) < 0 or blur <= 0 or power < 1:
            raise UserError(
                f"sparsity is {sparsity}, smoothness {smoothness}, jitter {jitter}, spread {spread}, blur {blur} and "
                f"power {power}; none may be negative, blur must be above 0 and power at least 1."
            )
        self.steps, self.cells, self.rate, self.seed = steps, cells, rate, seed
        self.sparsity, self.smoothness, self.power = sparsity, smoothness, power
        self.jitter, self.blur, self.spread = jitter, blur, spread

    def maps(self, batch: Batch) -> Tensor:
        images, size = batch.images, self.chunk or fitting(batch.images)
        batch.ablations += self.steps
        masks = [
            1 - self._enlarged(self.learn(images[i : i + size], batch.targets[i : i + size])[0], images)
            for i in range(0, len(images), size)
        ]
        return torch.cat(masks).clamp(0, 1) if masks else images.new_zeros(images[:, 0].shape)

    def learn(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Masks (N, cells, cells) of images (N, C, H, W) for classes (N,), and the loss (steps, N) before each step."""
        generator = np.random.default_rng(self.seed)
        blurred = _blurred(images, self.blur)
        with torch.inference_mode(False), torch.no_grad():
            mask = self._disc(images, blurred, targets).requires_grad_()
            adam, losses = torch.optim.Adam([mask], self.rate), []
            for _ in range(self.steps):
                shift = generator.integers(0, self.jitter + 1, 2).tolist()
                x, y = (_shifted(each, self.jitter, *shift) for each in (images, blurred))
                with torch.enable_grad():
                    loss = self._penalty(mask) + self._probability(x, y, mask, targets)
                    (mask.grad,) = torch.autograd.grad(loss.sum(), mask)
                losses.append(loss.detach())
                adam.step()
                mask.clamp_(0, 1)
        return mask.detach(), torch.stack(losses)

    def _penalty(self, mask: Tensor) -> Tensor:
        """The terms (N,) that ask for a small and smooth mask."""
        area = (1 - mask).abs().sum((1, 2))
        variation = sum(mask.diff(dim=dim).abs().pow(self.power).sum((1, 2)) for dim in (1, 2))
        return self.sparsity * area + self.smoothness * variation

    def _probability(self, images: Tensor, blurred: Tensor, mask: Tensor, targets: Tensor) -> Tensor:
        """The classes' probabilities (N,) for the images, blurred where the mask is 0."""
        whole = self._enlarged(mask, images)[:, None]
        logits = at_least_float32(self.network(blurred + whole * (images - blurred)))
        return logits.softmax(1).gather(1, targets[:, None])[:, 0]

    def _enlarged(self, mask: Tensor, images: Tensor) -> Tensor:
        """Masks (N, H, W) at the images' size."""
        whole = upsample(mask, images.shape[2:]).to(images.dtype)
        return _blurred(whole[:, None], self.spread)[:, 0] if self.spread > 0 else whole

    def _disc(self, images: Tensor, blurred: Tensor, targets: Tensor) -> Tensor:
        """The masks that learning starts from, (N, cells, cells)."""
        place = torch.arange(self.cells, device=images.device) - (self.cells - 1) / 2
        distance = (place[:, None] ** 2 + place**2).sqrt()
        radii = range(1, self.cells + 1)  # the last holds all cells
        discs = [at_least_float32((distance > radius).to(images)).repeat(len(images), 1, 1) for radius in radii]
        left = [self._probability(images, blurred, disc, targets) for disc in discs]
        full = self._probability(images, blurred, torch.ones_like(discs[0]), targets)
        enough = torch.stack([full - each >= SUPPRESSED * (full - left[-1]) for each in left])
        return torch.stack(discs)[enough.int().argmax(0), torch.arange(len(images), device=images.device)]


def _blurred(images: Tensor, deviation: float) -> Tensor:
    """Images (N, C, H, W) blurred by a Gaussian, cut off at 3 deviations or where the image ends."""
    reach = [max(0, min(round(3 * deviation), side - 1)) for side in images.shape[:1:-1]]  # width, height
    across = gaussian_blur(images, [2 * reach[0] + 1, 1], [deviation, deviation])
    return gaussian_blur(across, [1, 2 * reach[1] + 1], [deviation, deviation])


def _shifted(images: Tensor, jitter: int, down: int, right: int) -> Tensor:
    """The images (N, C, H, W) with their borders continued, cut at an offset of 0 to `jitter` pixels."""
    before = jitter // 2
    wide = F.pad(images, (before, jitter - before, before, jitter - before), "replicate")
    return wide[:, :, down : down + images.shape[2], right : right + images.shape[3]]
