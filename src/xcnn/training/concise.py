"""The concise-learning penalty of DeConvolve (eq. 1): small and compact areas of focus, one per filter.

For a post-ReLU map a, the mask is m = [a > t max a]. It is relative to the map's own maximum, so that rescaling the
filter cannot game it. Then

    area(a)       = mean m                                     (the "non-black" share of the image)
    dispersion(a) = sqrt(sum m ||p - mu||^2 / sum m)           (p: cell centres in [0, 1]^2, mu: their mean under m)

and both are 0 for a dead map (max a = 0). The paper writes sigma_nonblack without a formula; the standard distance of
the masked cells is our reading.

The exact gradient of both is zero almost everywhere, so it is estimated straight through: the forward values are the
hard ones above, hence the reported loss is eq. 1 itself, and backwards m is taken for sigmoid((a / max a - t) / T). The
gradient through max a is kept: without it a map would be told to shrink everywhere, peak included, and die.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from xcnn.device import at_least_float32
from xcnn.errors import UserError


def _moments_basis(height: int, width: int, like: Tensor) -> Tensor:
    """[1, x, y, x^2 + y^2] at the cell centres, (4, height * width), with the origin at the image's centre.

    The centred origin keeps the subtraction in the variance from cancelling; a variance knows no origin.
    """
    y = (torch.arange(height, device=like.device, dtype=like.dtype) + 0.5) / height - 0.5
    x = (torch.arange(width, device=like.device, dtype=like.dtype) + 0.5) / width - 0.5
    y, x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([torch.ones_like(x), x, y, x * x + y * y]).flatten(1)


class _Concise(torch.autograd.Function):
    """(area, dispersion) of every map: one product of the masks with the basis forwards, one backwards.

    Bound by memory, so each pass works in place on one of two buffers the size of the maps, and the maps keep the
    memory layout they come in: P = h w runs along `axis` 2 of (N, K, P), or along 1 of (N, P, K) for channels_last.
    """

    @staticmethod
    def forward(ctx: Any, activations: Tensor, threshold: float, temperature: float) -> tuple[Tensor, Tensor]:
        height, width = activations.shape[2:]
        maps = activations.flatten(2)
        axis = 2
        if not maps.is_contiguous() and maps.transpose(1, 2).is_contiguous():
            maps, axis = maps.transpose(1, 2), 1
        maps = at_least_float32(maps)
        basis = _moments_basis(height, width, maps)
        peak = maps.amax(axis, keepdim=True)
        mask = torch.gt(maps, peak * threshold, out=torch.empty_like(maps))  # a dead map's mask is empty: nothing > 0
        moments = mask @ basis.T if axis == 2 else (basis @ mask).transpose(1, 2)
        count, x, y, square = moments.unbind(2)
        mass = count.clamp(min=1)
        x, y = x / mass, y / mass
        dispersion = (square / mass - x * x - y * y).clamp_(min=0).sqrt_()
        dispersion = torch.where(count > 1, dispersion, 0)  # one cell: exactly 0, not the root of a rounding error
        ctx.save_for_backward(maps, peak, basis, mass, x, y, dispersion)
        ctx.buffer, ctx.axis, ctx.threshold, ctx.temperature = mask, axis, threshold, temperature
        ctx.shape, ctx.dtype = activations.shape, activations.dtype
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
        # d dispersion / d m_p = (||p - mu||^2 - dispersion^2) / (2 dispersion sum m); mu's own change cancels.
        spread = torch.where(dispersion > 0, grad_dispersion / (2 * dispersion.clamp(min=1e-12) * mass), 0)
        constant = grad_area / basis.shape[1] + spread * (x * x + y * y - dispersion * dispersion)
        scale = torch.where(peak > 0, 1 / (peak * ctx.temperature), 0)  # of d (a / max a / T) / d a; dead maps get none
        coefficients = torch.stack([constant, -2 * spread * x, -2 * spread * y, spread], 2)
        along = coefficients if axis == 2 else coefficients.transpose(1, 2)
        grad = (along * scale) @ basis if axis == 2 else basis.T @ (along * scale)
        buffer = ctx.buffer
        torch.mul(maps, scale, out=buffer).sub_(ctx.threshold / ctx.temperature).sigmoid_()
        grad.mul_(buffer).mul_(buffer.neg_().add_(1))
        # a / max a is scale-free: what the cells of a map gain in all, its peak pays (shared between equal peaks).
        toll = torch.linalg.vecdot(grad, maps, dim=axis).unsqueeze(axis) / peak.clamp(min=torch.finfo(peak.dtype).tiny)
        torch.eq(maps, peak, out=buffer)
        grad.addcmul_(buffer, toll / buffer.sum(axis, keepdim=True), value=-1)
        grad = grad if axis == 2 else grad.transpose(1, 2)
        return grad.to(ctx.dtype).view(ctx.shape)


def concise_terms(activations: Tensor, threshold: float = 0.1, temperature: float = 0.1) -> tuple[Tensor, Tensor]:
    """Area and dispersion of each map, for the price of one.

    Args:
        activations: post-ReLU maps (N, K, h, w), non-negative.
        threshold: t in [0, 1): a cell counts if it exceeds this share of its map's maximum.
        temperature: T > 0 of the backward surrogate, in the same unit.

    Returns:
        area (N, K) in [0, 1] and dispersion (N, K) in [0, sqrt(1/2)], hard values with the surrogate's gradient.
    """
    with torch.autocast(activations.device.type, enabled=False):  # the moments need float32 sums
        area, dispersion = _Concise.apply(activations, threshold, temperature)
    return area, dispersion


def area(activations: Tensor, threshold: float = 0.1, temperature: float = 0.1) -> Tensor:
    """Share of each map (N, K, h, w) that is above `threshold` of its maximum: (N, K) in [0, 1]; dead map 0 (eq. 1)."""
    return concise_terms(activations, threshold, temperature)[0]


def dispersion(activations: Tensor, threshold: float = 0.1, temperature: float = 0.1) -> Tensor:
    """Standard distance of each map's masked cells, in image sides: (N, K) in [0, sqrt(1/2)]; dead map 0 (eq. 1)."""
    return concise_terms(activations, threshold, temperature)[1]


Reduction = Literal["all", "live"]


class ConcisePenalty(nn.Module):
    """alpha * area + beta * dispersion, averaged over filters, layers and images (eq. 1).

    With floors 0 and reduction "all" this is the literal loss, which a network can also lower by killing filters. The
    other settings are our changes against that, each of which the ablation shows:

    Args:
        alpha: weight of the area, at least 0.
        beta: weight of the dispersion, at least 0.
        threshold: t of the mask, in [0, 1).
        temperature: T of the straight-through surrogate, positive.
        area_floor: ReLU(area - floor) per map: a map this small is left alone.
        dispersion_floor: likewise for the dispersion.
        reduction: mean over "all" maps (a dead one counts as 0) or over the "live" ones.
        above_mean: penalise only the maps of an image that exceed their layer's mean.
        warmup_epochs: the weights rise linearly from 0 over this many epochs.
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
        """The penalty for the maps of each penalised layer, [(N, K_l, h_l, w_l)], and its parts for the log.

        Returns:
            A scalar; and `area`, `dispersion`, each the literal mean over all maps whatever the settings.
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
