"""ROAD (Rong et al. 2022): the score after pixels are removed and imputed from their neighbours.

A removed pixel becomes the weighted mean of its neighbours, 1/6 for the four beside it and 1/12 for the four diagonal
ones (section 4.3); where neighbours are removed too, this is a sparse linear system. Neighbours beyond the border do
not exist, and the weights of the others are scaled up, as in the authors' code. Noise is added to what was imputed.

The system is solved by conjugate gradients with a multigrid preconditioner, for all images and channels at once and on
their device. SciPy's sparse direct solver takes 2.4 times as long on one thread over ROAD's four fractions
(`benchmarks/imputation.py`, 224 x 224 pixels; from 0.6 at 20 % to 5.3 at 80 %), and does not run on a GPU. The stencil
S of the weights is a binomial filter less its centre, (4 B - 1) / 3 with B = [1 2 1] x [1 2 1] / 16, so that a sweep of
Jacobi, which applies S, shrinks the high frequencies threefold. A coarse cell is unknown if all its pixels are.
Iterations are in float32 and residuals in float64 (iterative refinement): rounding errors would otherwise accumulate
over the many pixels between the middle of a removed region and its edge.
"""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from xcnn.errors import UserError
from xcnn.metrics.perturbation import Score, ranked_like, scored

__all__ = ["imputation_noise", "impute", "road_combined", "road_scores"]

_REFINEMENTS, _ITERATIONS = 20, 100  # upper bounds; about 3 and 10 are needed
_GAIN = 1e-5  # factor by which one refinement shrinks the error at most, within the precision of float32


def road_scores(
    score: Score,
    images: Tensor,
    maps: Tensor,
    ids: Sequence[str],
    fractions: Sequence[float] = (0.2, 0.4, 0.6, 0.8),
    noise: float = 0.01,
    seed: int = 0,
    tolerance: float = 1e-4,
    batch: int = 64,
) -> Tensor:
    """The score of each image after its most relevant pixels were imputed (MoRF), and its least relevant ones (LeRF).

    It takes 2 F N passes. An image's noise depends on its id and the seed alone, so it is the same for all maps, orders
    and fractions, and batches do not change it.

    Args:
        score: function from versions of the images to their scores, such as the target's probability.
        images: network input (N, C, H, W).
        maps: (N, h, w); their ties are broken in reading order.
        ids: identifiers of the images.
        fractions: F shares of the pixels to remove, each in (0, 1).
        noise: standard deviation of the noise added to imputed pixels, in units of the network input; the authors'
            is 0.01.
        seed: random seed of the noise.
        tolerance: largest error of an imputed pixel, as for `impute`.
        batch: number of versions for each call of `score`.

    Returns:
        (N, 2, F), MoRF and then LeRF, followed by further dimensions of the scores, if any.

    Raises:
        UserError: shapes do not fit, a map is not finite, a fraction is outside (0, 1) or removes every pixel.
    """
    if not fractions or not all(0 < fraction < 1 for fraction in fractions):
        raise UserError(f"fractions are {list(fractions)}; give shares of the pixels to remove, each in (0, 1).")
    rank = ranked_like(images, maps)
    places = rank[0].numel()
    removals = torch.tensor([round(fraction * places) for fraction in fractions], device=rank.device)
    offsets = noise * imputation_noise(ids, images, seed)

    def version(image: Tensor, step: Tensor) -> Tensor:
        place, least = rank[image], step >= len(fractions)
        place = torch.where(least[:, None, None], places - 1 - place, place)
        removed = place < removals[step % len(fractions), None, None]
        imputed = impute(images[image], removed, tolerance)
        return torch.where(removed[:, None], imputed + offsets[image], imputed)

    scores = scored(score, version, len(images), 2 * len(fractions), batch, images.device)
    return scores.unflatten(1, (2, len(fractions)))


def road_combined(scores: Tensor) -> Tensor:
    """(mean of LeRF - mean of MoRF) / 2 over the fractions, higher is better: (N, 2, F) -> (N,).

    It is `ROADCombined` of the grad-cam package, whose percentile p removes the share 1 - p / 100, and in which the
    differences to the intact image's score cancel. The package removes all pixels of a tie; here shares are exact.
    """
    return (scores[:, 1] - scores[:, 0]).mean(1) / 2


def imputation_noise(ids: Sequence[str], images: Tensor, seed: int = 0) -> Tensor:
    """Standard normal noise (N, C, H, W), drawn on the CPU from a generator for (seed, id of the image)."""
    if len(ids) != len(images):
        raise UserError(f"{len(ids)} ids for {len(images)} images; pass one for each.")
    generator = torch.Generator()
    fields = torch.empty(images.shape)
    for field, name in zip(fields, ids, strict=True):
        digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
        field.normal_(generator=generator.manual_seed(int.from_bytes(digest[:7], "big")))
    return fields.to(images)


@torch.inference_mode()
def impute(images: Tensor, removed: Tensor, tolerance: float = 1e-4) -> Tensor:
    """The images (N, C, H, W) in which every removed pixel is the weighted mean of its neighbours.

    Args:
        removed: (N, H, W), bool.
        tolerance: largest error of a pixel, as estimated from the exact residual by one cycle of multigrid; in units of
            the images. 1e-4 is a hundredth of ROAD's noise.

    Raises:
        UserError: shapes or dtypes do not fit, an image is not finite, no pixel of an image is left, or the tolerance
            cannot be reached.
    """
    if images.ndim != 4 or removed.shape != images[:, 0].shape or removed.dtype != torch.bool:
        raise UserError(
            f"images are {tuple(images.shape)} and removed is {tuple(removed.shape)} {removed.dtype}; "
            "pass images (N, C, H, W) with booleans (N, H, W)."
        )
    if not images.isfinite().all():
        raise UserError("an image holds NaN or infinity; check what it was divided by.")
    if removed.flatten(1).all(1).any():
        raise UserError("every pixel of an image is removed: nothing is left to impute from. Remove fewer.")
    removed = removed[:, None]
    known = images.double().masked_fill(removed, 0)
    mean = known.sum((2, 3), keepdim=True) / (~removed).sum((2, 3), keepdim=True)
    known = (known - mean).masked_fill(removed, 0)
    unknown = removed.to(torch.float32)
    degree = _neighbours(torch.ones_like(known[:1, :1]))
    levels = _levels(unknown)
    solution = torch.zeros_like(known)  # of the removed pixels, off the mean
    for _ in range(_REFINEMENTS):
        residual = ((_neighbours(known + solution) - degree * solution) * unknown).float()
        step = _cycle(residual, levels)
        if step.abs().amax() <= tolerance:
            return torch.where(removed, (solution + step + mean).to(images.dtype), images)
        solution += _conjugate_gradients(residual, step, degree.float(), unknown, levels, tolerance)
    raise UserError(f"pixels cannot be imputed to a tolerance of {tolerance}; choose a larger one.")


def _conjugate_gradients(
    residual: Tensor, step: Tensor, degree: Tensor, unknown: Tensor, levels: list[tuple[Tensor, Tensor]], goal: float
) -> Tensor:
    """A correction (N, C, H, W) after which the error is half the goal, or _GAIN times as large as before.

    Each channel is a system of its own, which stops changing once it is solved, so that it does not depend on others.
    """
    tiny = torch.finfo(residual.dtype).tiny
    goals = (_GAIN * step.abs().amax((2, 3), keepdim=True)).clamp(min=goal / 2)
    correction, direction, previous = torch.zeros_like(residual), torch.zeros_like(residual), residual.new_ones(())
    for _ in range(_ITERATIONS):
        going = step.abs().amax((2, 3), keepdim=True) > goals
        if not going.any():
            break
        product = _inner(residual, step)
        direction = torch.addcmul(step, product / previous.clamp(min=tiny), direction)
        image = (degree * direction - _neighbours(direction)).mul_(unknown)
        length = going * product / _inner(direction, image).clamp(min=tiny)
        correction.addcmul_(length, direction)
        residual = torch.addcmul(residual, -length, image)
        previous = product
        step = _cycle(residual, levels)
    return correction


def _inner(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((2, 3), keepdim=True)


def _levels(unknown: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Factors of a Jacobi sweep, and of the transfers to and from the next level, fine to coarse; 0 where known."""
    levels = []
    while True:
        everywhere = torch.ones_like(unknown[:1])
        size = unknown.shape[2:]
        jacobi = unknown / _neighbours(everywhere).clamp(min=1 / 12)  # a single pixel has no neighbour
        coarser = _halved(1 - unknown) == 0
        levels.append((jacobi, unknown / _finer(torch.ones_like(coarser[:1], dtype=unknown.dtype), size)))
        if max(size) <= 4:
            return levels
        unknown = coarser.to(unknown.dtype)


def _cycle(residual: Tensor, levels: list[tuple[Tensor, Tensor]]) -> Tensor:
    """An estimate of the error that belongs to a residual (N, C, H, W): one V(1, 1) cycle of multigrid."""
    (jacobi, transfer), *coarser = levels
    error = jacobi * residual
    if coarser:
        size = residual.shape[2:]
        correction = _cycle(_coarser(transfer * _neighbours(error)), coarser)
        error.addcmul_(transfer, _finer(correction, size))
    return _neighbours(error).add_(residual).mul_(jacobi)


def _neighbours(values: Tensor) -> Tensor:
    """The weighted sum of each pixel's neighbours; 0 beyond the border."""
    return _binomial(values).sub_(values, alpha=4).div_(12)


def _binomial(values: Tensor) -> Tensor:
    """[1 2 1] x [1 2 1]; 0 beyond the border."""
    values = functional.pad(values, (1, 1, 1, 1))
    for _ in range(2):
        values = values[..., 1:] + values[..., :-1]
    for _ in range(2):
        values = values[..., 1:, :] + values[..., :-1, :]
    return values


def _even(values: Tensor) -> Tensor:
    height, width = values.shape[2:]
    return functional.pad(values, (0, width % 2, 0, height % 2)) if height % 2 or width % 2 else values


def _halved(values: Tensor) -> Tensor:
    """Sums over cells of 2 x 2."""
    values = _even(values)
    values = values[..., ::2, :] + values[..., 1::2, :]
    return values[..., ::2] + values[..., 1::2]


def _coarser(values: Tensor) -> Tensor:
    """The transpose of `_finer`."""
    return _halved(_binomial(_even(values)))


def _finer(values: Tensor, size: torch.Size) -> Tensor:
    """Bilinear interpolation between the cells' centres, times 16."""
    return _binomial(functional.interpolate(values, scale_factor=2.0))[..., : size[0], : size[1]]
