"""Concise-learning penalty of DeConvolve (eq. 1): area and dispersion of each filter's feature map.

The mask of a post-ReLU map a is m = [a > t max a]. The threshold is relative to the map's maximum, so that rescaling a
filter changes nothing. Then

    area(a)       = mean m                                (non-black share of the image)
    dispersion(a) = sqrt(sum m ||p - mu||^2 / sum m)      (p: pixel centres in [0, 1]^2, mu: their mean over the mask)

and both are 0 for a dead map (max a = 0). The paper gives no formula for sigma_nonblack; we read it as the standard
distance of the masked pixels.

The exact gradient of both is zero almost everywhere. It is replaced by a straight-through estimator: the forward pass
computes the hard values above, so that the reported loss is eq. 1 itself, and the backward pass replaces m by
sigmoid((a / max a - t) / T). The gradient flows through max a too: without that term every activation of a map would be
pushed down, its maximum included, until the map is dead.
"""

from collections.abc import Callable
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from xcnn.device import at_least_float32, in_chunks
from xcnn.errors import UserError

T = TypeVar("T")

CPU_CHUNK = 2**17
"""Values of the maps taken at a time on a CPU: the buffers of so many floats stay in a core's second-level cache."""


def _moments_basis(height: int, width: int, like: Tensor) -> Tensor:
    """[1, x, y, x^2 + y^2] at the pixel centres, (4, height * width), with the origin at the image's centre.

    A variance is independent of the origin; a centred one avoids cancellation in E[x^2] - E[x]^2.
    """
    y = (torch.arange(height, device=like.device, dtype=like.dtype) + 0.5) / height - 0.5
    x = (torch.arange(width, device=like.device, dtype=like.dtype) + 0.5) / width - 0.5
    y, x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([torch.ones_like(x), x, y, x * x + y * y]).flatten(1)


def _by_images(maps: Tensor, function: Callable[[slice], T]) -> list[T]:
    """What a function gives of slices of images, as many as the cache holds on a CPU, and all at once on a GPU."""
    images = max(1, len(maps))  # of no image too there is a result: an empty one
    size = max(1, CPU_CHUNK * images // max(1, maps.numel())) if maps.device.type == "cpu" else images
    return in_chunks(images, size, function)


class _Concise(torch.autograd.Function):
    """(area, dispersion) of every map: one matrix product of masks and moments in each direction.

    The computation is bound by memory, so that it goes a few images at a time, each pass in place on buffers that stay
    in the cache, and keeps the maps as they are given: in their precision, and in their memory layout, where the
    P = h w pixels are `axis` 2 of (N, K, P), or 1 of (N, P, K) if channels_last.
    """

    @staticmethod
    def forward(ctx: Any, activations: Tensor, threshold: float, temperature: float) -> tuple[Tensor, Tensor]:
        height, width = activations.shape[2:]
        maps = activations.flatten(2)
        axis = 2
        if not maps.is_contiguous() and maps.transpose(1, 2).is_contiguous():
            maps, axis = maps.transpose(1, 2), 1
        basis = _moments_basis(height, width, at_least_float32(maps[:0]))

        def peaks_and_moments(images: slice) -> tuple[Tensor, Tensor]:
            some = at_least_float32(maps[images])
            peak = some.amax(axis, keepdim=True)
            mask = torch.gt(some, peak * threshold, out=torch.empty_like(some))  # empty for a dead map: 0 > 0
            return peak, mask @ basis.T if axis == 2 else (basis @ mask).transpose(1, 2)

        peak, moments = map(torch.cat, zip(*_by_images(maps, peaks_and_moments), strict=True))
        count, x, y, square = moments.unbind(2)
        mass = count.clamp(min=1)
        x, y = x / mass, y / mass
        dispersion = (square / mass - x * x - y * y).clamp_(min=0).sqrt_()
        dispersion = torch.where(count > 1, dispersion, 0)  # one pixel: exactly 0, not the root of a rounding error
        ctx.save_for_backward(maps, peak, basis, mass, x, y, dispersion)
        ctx.axis, ctx.threshold, ctx.temperature, ctx.shape = axis, threshold, temperature, activations.shape
        return count / (height * width), dispersion

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_area: Tensor, grad_dispersion: Tensor) -> tuple[Tensor, None, None]:
        with torch.autocast(grad_area.device.type, enabled=False):
            return _Concise._maps_gradient(ctx, grad_area, grad_dispersion), None, None

    @staticmethod
    def _maps_gradient(ctx: Any, grad_area: Tensor, grad_dispersion: Tensor) -> Tensor:
        maps, peak, basis, mass, x, y, dispersion = ctx.saved_tensors
        axis = ctx.axis
        # d dispersion / d m_p = (||p - mu||^2 - dispersion^2) / (2 dispersion sum m); the derivative of mu cancels.
        spread = torch.where(dispersion > 0, grad_dispersion / (2 * dispersion.clamp(min=1e-12) * mass), 0)
        constant = grad_area / basis.shape[1] + spread * (x * x + y * y - dispersion * dispersion)
        scale = torch.where(peak > 0, 1 / (peak * ctx.temperature), 0)  # d (a / max a / T) / d a; 0 for dead maps
        coefficients = torch.stack([constant, -2 * spread * x, -2 * spread * y, spread], 2)
        coefficients = (coefficients if axis == 2 else coefficients.transpose(1, 2)) * scale
        gradient, tiny = torch.empty_like(maps), torch.finfo(peak.dtype).tiny

        def fill(images: slice) -> None:
            some, top = at_least_float32(maps[images]), peak[images]
            grad = coefficients[images] @ basis if axis == 2 else basis.T @ coefficients[images]
            buffer = torch.mul(some, scale[images]).sub_(ctx.threshold / ctx.temperature).sigmoid_()
            torch.ops.aten.sigmoid_backward.grad_input(grad, buffer, grad_input=grad)
            # a / max a is invariant to scale, so the maximum's gradient pays for the other pixels' (ties share).
            paid = torch.mul(grad, some, out=buffer).sum(axis, keepdim=True) / top.clamp(min=tiny)
            torch.eq(some, top, out=buffer)
            gradient[images] = grad.addcmul_(buffer, paid / buffer.sum(axis, keepdim=True), value=-1)

        _by_images(maps, fill)
        return (gradient if axis == 2 else gradient.transpose(1, 2)).view(ctx.shape)


def concise_terms(activations: Tensor, threshold: float = 0.1, temperature: float = 0.1) -> tuple[Tensor, Tensor]:
    """Area and dispersion of each map, computed together.

    Args:
        activations: post-ReLU feature maps (N, K, h, w), non-negative.
        threshold: threshold t of the mask as a share of the map's maximum, in [0, 1).
        temperature: temperature T > 0 of the sigmoid in the backward pass, as a share of the map's maximum.

    Returns:
        area (N, K) in [0, 1] and dispersion (N, K) in [0, sqrt(1/2)], in image sides: hard values with the
        straight-through gradient.
    """
    with torch.autocast(activations.device.type, enabled=False):  # the moments need float32 sums
        area, dispersion = _Concise.apply(activations, threshold, temperature)
    return area, dispersion


def area(activations: Tensor, threshold: float = 0.1, temperature: float = 0.1) -> Tensor:
    """Area of each map (N, K, h, w) above `threshold` of its maximum: (N, K) in [0, 1], 0 for a dead map (eq. 1)."""
    return concise_terms(activations, threshold, temperature)[0]


def dispersion(activations: Tensor, threshold: float = 0.1, temperature: float = 0.1) -> Tensor:
    """Standard distance of the masked pixels, in image sides: (N, K) in [0, sqrt(1/2)], 0 for a dead map (eq. 1)."""
    return concise_terms(activations, threshold, temperature)[1]


Reduction = Literal["all", "live"]


class ConcisePenalty(nn.Module):
    """alpha * area + beta * dispersion, averaged over filters, layers and images (eq. 1).

    With floors 0 and reduction "all" this is the loss as printed, which a network can also lower by dead filters. The
    other settings are our variants against filter death, compared in the ablation:

    Args:
        alpha: weight of the area, at least 0.
        beta: weight of the dispersion, at least 0.
        threshold: threshold t of the mask, in [0, 1).
        temperature: temperature T of the straight-through estimator, positive.
        area_floor: hinge of the area term, ReLU(area - area_floor) per map; 0 for none.
        dispersion_floor: hinge of the dispersion term, likewise.
        reduction: "all" for the mean over all maps, in which a dead map counts 0; "live" for the mean over live maps.
        above_mean: whether only maps above their image's mean in the layer are penalised.
        warmup_epochs: number of epochs over which the weights rise linearly from 0.

    Raises:
        UserError: a setting out of its range.
    """

    def __init__(
        self,
        alpha: float = 0.1,
        beta: float = 0.05,
        threshold: float = 0.1,
        temperature: float = 0.1,
        area_floor: float = 0.0,
        dispersion_floor: float = 0.0,
        reduction: Reduction = "all",
        above_mean: bool = False,
        warmup_epochs: int = 0,
    ):
        super().__init__()
        weights = {"alpha": alpha, "beta": beta, "area_floor": area_floor, "dispersion_floor": dispersion_floor}
        for name, value in (weights | {"warmup_epochs": warmup_epochs}).items():
            if not 0 <= value < float("inf"):  # a NaN fails every comparison
                raise UserError(f"{name} must be a finite number of at least 0, not {value}.")
        if not 0 <= threshold < 1:
            raise UserError(f"threshold must be in [0, 1), not {threshold}.")
        if not temperature > 0:
            raise UserError(f"temperature must be positive, not {temperature}.")
        if reduction not in ("all", "live"):
            raise UserError(f"reduction must be 'all' or 'live', not {reduction!r}.")
        self.alpha, self.beta, self.threshold, self.temperature = alpha, beta, threshold, temperature
        self.area_floor, self.dispersion_floor = area_floor, dispersion_floor
        self.reduction, self.above_mean, self.warmup_epochs = reduction, above_mean, warmup_epochs

    def forward(self, maps: list[Tensor], epoch: int = 0) -> tuple[Tensor, dict[str, Tensor]]:
        """The penalty on the maps of each penalised layer, [(N, K_l, h_l, w_l)], and its parts for the log.

        Returns:
            The penalty, a scalar; and the means over all maps of `area` and `dispersion`, without floors or weights.
        """
        areas, dispersions, terms = [], [], []
        for activations in maps:
            a, d = concise_terms(activations, self.threshold, self.temperature)
            areas.append(a.detach().mean())
            dispersions.append(d.detach().mean())
            term = self.alpha * self._excess(a, self.area_floor) + self.beta * self._excess(d, self.dispersion_floor)
            if self.reduction == "live":
                terms.append(term.sum() / (a.detach() > 0).sum().clamp(min=1))
            else:
                terms.append(term.mean())
        ramp = min(1.0, (epoch + 1) / (self.warmup_epochs + 1))
        parts = {"area": torch.stack(areas).mean(), "dispersion": torch.stack(dispersions).mean()}
        return ramp * torch.stack(terms).mean(), parts

    def _excess(self, values: Tensor, floor: float) -> Tensor:
        if self.above_mean:
            return torch.where(values > values.detach().mean(1, keepdim=True), values, 0)
        return torch.relu(values - floor) if floor else values
