"""Local interpretable model-agnostic explanations, LIME (Ribeiro et al. 2016), of images."""

import zlib
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from torch import Tensor, nn

from xcnn.attribution.batch import Batch
from xcnn.attribution.black_box_method import BlackBoxMethod
from xcnn.device import at_least_float32
from xcnn.errors import UserError

Segments = Callable[[NDArray], NDArray]


def quickshift(image: NDArray) -> NDArray:
    """Superpixels (H, W) of an image (H, W, C) in [0, 1], with the settings of the authors' code.

    They are of tens of pixels across: a small image may be a single one.
    """
    from skimage.segmentation import quickshift as segment  # seconds to import

    return segment(image, kernel_size=4, max_dist=200, ratio=0.2, convert2lab=image.shape[2] == 3, rng=0)


def slic(image: NDArray) -> NDArray:
    """About 100 superpixels (H, W) of an image (H, W, C) in [0, 1]: faster, and of more even size."""
    from skimage.segmentation import slic as segment

    return segment(image, n_segments=100, compactness=10, convert2lab=image.shape[2] == 3, start_label=0)


SEGMENTS: dict[str, Segments] = {"quickshift": quickshift, "slic": slic}


class LIME(BlackBoxMethod):
    """The coefficient of each pixel's segment in a linear model of the class's probability (eq. 1).

    Samples keep each segment with probability 1/2, the first keeps all; a segment that is left out has its mean colour.
    The ridge regression weights a sample by sqrt(exp(-d^2 / width^2)), with d its cosine distance to the first. These
    are the settings of the authors' code. Samples are drawn by the seed and the image's own bytes, so an image has the
    same map in any batch and shard.

    Args:
        samples: number of samples.
        segments: "quickshift" or "slic", or a function from an image (H, W, C) in [0, 1] to segments (H, W) of int.
        width: width of the kernel.
        penalty: weight of the squared coefficients.
        value: value of pixels left out; None for the mean colour of their segment.
        seed: random seed of the samples.
        model, chunk: as for `BlackBoxMethod`.
    """

    def __init__(
        self,
        model: nn.Module,
        samples: int = 1000,
        segments: str | Segments = "quickshift",
        width: float = 0.25,
        penalty: float = 1.0,
        value: float | None = None,
        seed: int = 0,
        chunk: int | None = None,
    ):
        super().__init__(model, chunk)
        if samples < 1 or width <= 0 or penalty < 0:
            raise UserError(
                f"samples is {samples}, width {width} and penalty {penalty}; give at least 1 sample, a width above 0 "
                "and a penalty of at least 0."
            )
        if isinstance(segments, str) and segments not in SEGMENTS:
            raise UserError(f"segments is {segments!r}; choose {' or '.join(SEGMENTS)}, or pass a function.")
        self.samples, self.width, self.penalty, self.value, self.seed = samples, width, penalty, value, seed
        self.segments = SEGMENTS[segments] if isinstance(segments, str) else segments

    def maps(self, batch: Batch) -> Tensor:
        batch.ablations += self.samples
        pairs = zip(batch.images, batch.targets, strict=True)
        found = [self._map(image, target).to(batch.score) for image, target in pairs]
        return torch.stack(found) if found else batch.images.new_zeros(batch.images[:, 0].shape)

    def _map(self, image: Tensor, target: Tensor) -> Tensor:
        """The map (H, W) of an image (C, H, W), in float64."""
        segment = self._segmented(image)
        count = int(segment.max()) + 1
        name = zlib.crc32(image.float().cpu().numpy().tobytes())
        kept = np.random.default_rng((self.seed, name)).integers(0, 2, (self.samples, count))
        kept[0] = 1
        covered, keeps = self._covered(image, segment, count), torch.from_numpy(kept == 1).to(image.device)

        def sample(part: slice) -> Tensor:
            return torch.where(keeps[part][:, segment][:, None], image, covered)

        def probability(logits: Tensor, part: slice) -> Tensor:
            return at_least_float32(logits).softmax(1)[:, target]

        probabilities = self.altered(self.samples, sample, probability).double().cpu().numpy()
        model = Ridge(alpha=self.penalty).fit(kept, probabilities, sample_weight=closeness(kept, self.width))
        return torch.from_numpy(model.coef_).to(image.device)[segment]

    def _segmented(self, image: Tensor) -> Tensor:
        """The segment of each pixel (H, W), numbered from 0 without gaps."""
        low, high = image.aminmax()
        scaled = (image - low) / (high - low).clamp(min=torch.finfo(image.dtype).tiny)
        found = np.asarray(self.segments(scaled.movedim(0, -1).double().cpu().numpy()))
        if found.shape != image.shape[1:]:
            raise UserError(f"segments gave {found.shape} for an image of {tuple(image.shape[1:])} pixels.")
        _, number = np.unique(found, return_inverse=True)
        return torch.from_numpy(number.reshape(found.shape)).to(image.device)

    def _covered(self, image: Tensor, segment: Tensor, count: int) -> Tensor:
        """The image with every segment left out."""
        if self.value is not None:
            return torch.full_like(image, self.value)
        sums = image.new_zeros(len(image), count).index_add_(1, segment.flatten(), image.flatten(1))
        return (sums / segment.flatten().bincount(minlength=count))[:, segment]


def closeness(kept: NDArray, width: float) -> NDArray:
    """sqrt(exp(-d^2 / width^2)) for the cosine distance d of each sample (S, segments) of 0 and 1 to that of all ones.

    A sample that keeps nothing has distance 1.
    """
    distance = 1 - np.sqrt(kept.mean(1))  # (kept . 1) / (|kept| |1|) = sqrt(kept segments / segments)
    return np.sqrt(np.exp(-(distance**2) / width**2))
