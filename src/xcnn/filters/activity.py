"""How a layer's filters behave on data: how strongly, how widely, how often and for which classes they fire."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from xcnn.errors import UserError
from xcnn.models.split import split_at
from xcnn.training.concise import concise_terms

__all__ = ["FilterActivity", "auroc", "measure_activity"]


@dataclass(frozen=True)
class FilterActivity:
    """The activity of a layer's K filters on a data set.

    Attributes:
        n_images: images seen.
        peak: (K,), the largest activation.
        p95: (K,), the 95th percentile of all activations at all positions; see `measure_activity` for its error.
        dead: (K,) bool, never above 0.
        dead_share: share of the dead filters, in [0, 1].
        silent_share: share of the (image, filter) pairs whose map is nowhere above 0, in [0, 1].
        area: (K,) in [0, 1], mean over the images on which the filter fires (NaN for a dead one).
        area_all: (K,), mean over all images, a silent map counting 0.
        dispersion: (K,) in [0, sqrt(1/2)], mean over the images on which the filter fires (NaN for a dead one).
        dispersion_all: (K,), mean over all images, a silent map counting 0.
        auroc: (classes, K) in [0, 1], of the map's mean for telling a class from the rest; NaN for a class without
            images or that has them all.
    """

    n_images: int
    peak: Tensor
    p95: Tensor
    dead: Tensor
    dead_share: float
    silent_share: float
    area: Tensor
    area_all: Tensor
    dispersion: Tensor
    dispersion_all: Tensor
    auroc: Tensor


class _Sample:
    """A uniform sample without replacement, of bounded size, of rows that come in batches.

    Each row draws a random key; the rows with the smallest keys are kept.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.generator = torch.Generator().manual_seed(seed)
        self.keys, self.rows = torch.empty(0), torch.empty(0)

    def add(self, rows: Tensor) -> None:
        keys = torch.rand(len(rows), generator=self.generator, dtype=torch.float64)
        if len(self.keys) == self.size:
            promising = keys < self.keys.max()
            keys, rows = keys[promising], rows[promising.to(rows.device)]
        if len(self.keys):
            keys, rows = torch.cat([self.keys, keys]), torch.cat([self.rows, rows])
        kept = keys.topk(min(self.size, len(keys)), largest=False).indices
        self.keys, self.rows = keys[kept], rows[kept.to(rows.device)]


@torch.no_grad()
def measure_activity(
    model: nn.Module,
    layer: str,
    batches: Iterable[tuple[Tensor, Tensor]],
    n_classes: int,
    threshold: float = 0.1,
    sample_size: int = 32768,
    seed: int = 0,
) -> FilterActivity:
    """Run the network as far as `layer`, in evaluation mode, over the data once.

    Memory is that of one batch, `sample_size` x K values, and one value per image and filter. The 95th percentile comes
    from a uniform sample of `sample_size` positions, the same for all filters: exact when the data have no more; else
    the value is that of a rank with standard error sqrt(0.05 x 0.95 / sample_size), 0.12 percentage points by default.

    Args:
        model: a network of images to logits; left as it is.
        layer: qualified name of a layer with maps, after its ReLU in the paper.
        batches: pairs of images (n, C, H, W), moved to the network's device, and labels (n,).
        n_classes: number of classes.
        threshold: of the mask behind area and dispersion, as a share of each map's maximum.
        sample_size: positions from which the percentile is taken.
        seed: of that sample.

    Raises:
        UserError: the network cannot be cut there, the layer gives no maps, a label is not a class, or no data.
    """
    split = split_at(model, layer)
    weight = next(model.parameters(), torch.zeros(()))
    sample = _Sample(sample_size, seed)
    peaks, means, classes, areas, dispersions = [], [], [], [], []
    for images, labels in batches:
        if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < n_classes:
            raise UserError(
                f"labels run from {int(labels.min())} to {int(labels.max())}; with n_classes={n_classes} they must lie "
                f"in 0 to {n_classes - 1}."
            )
        maps = split.trunk(images.to(weight.device))
        if maps.ndim != 4:
            raise UserError(f"layer {layer!r} gives {tuple(maps.shape[1:])} per image, not maps (filters, h, w).")
        peaks.append(maps.amax((2, 3)))
        means.append(maps.mean((2, 3)))
        classes.append(labels.to(maps.device))
        area, dispersion = concise_terms(maps, threshold)
        areas.append(area)
        dispersions.append(dispersion)
        sample.add(maps.permute(0, 2, 3, 1).flatten(0, 2))
    if not peaks or not sum(map(len, peaks)):
        raise UserError("there is no data to measure activity on: the batches are empty.")
    peak = torch.cat(peaks)
    live = peak > 0
    firings = live.sum(0)
    area_sum, dispersion_sum = (torch.cat(term).where(live, 0).sum(0) for term in (areas, dispersions))
    dead = firings == 0
    return FilterActivity(
        n_images=len(peak),
        peak=peak.amax(0),
        p95=_percentile(sample.rows, 0.95),
        dead=dead,
        dead_share=dead.double().mean().item(),
        silent_share=1 - live.double().mean().item(),
        area=area_sum / firings,
        area_all=area_sum / len(peak),
        dispersion=dispersion_sum / firings,
        dispersion_all=dispersion_sum / len(peak),
        auroc=auroc(torch.cat(means), torch.cat(classes), n_classes),
    )


def _percentile(rows: Tensor, share: float) -> Tensor:
    """(n, K) to (K,), with linear interpolation; `torch.quantile` refuses more than 16 million values."""
    position = share * (len(rows) - 1)
    below = int(position)
    ordered = rows.sort(dim=0).values
    return ordered[below].lerp(ordered[min(below + 1, len(rows) - 1)], position - below)


def auroc(values: Tensor, labels: Tensor, n_classes: int) -> Tensor:
    """Area under the ROC curve of each column of `values` for each class against the rest, by ranks; exact with ties.

    Args:
        values: (n, K).
        labels: (n,), in 0 to n_classes - 1.
        n_classes: number of classes.

    Returns:
        (classes, K) float64 in [0, 1]; NaN for a class without members, or that has them all.
    """
    ordered, order = values.sort(dim=0)
    n = len(values)
    place = torch.arange(n, device=values.device)[:, None].expand_as(ordered)
    starts = torch.ones_like(ordered, dtype=torch.bool)
    starts[1:] = ordered[1:] != ordered[:-1]
    ends = starts.roll(-1, 0)  # the last row's neighbour is the first, which always starts a run
    first = place.where(starts, 0).cummax(0).values
    last = place.where(ends, n - 1).flip(0).cummin(0).values.flip(0)
    middle = (first + last).double() / 2 + 1  # tied values share the mean of their ranks
    ranks = torch.empty_like(middle).scatter_(0, order, middle)
    members = nn.functional.one_hot(labels.long(), n_classes).double().T
    n_in = members.sum(1, keepdim=True)
    return (members @ ranks - n_in * (n_in + 1) / 2) / (n_in * (n - n_in))
