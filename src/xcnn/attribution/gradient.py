"""The gradient of the class score at the input (Simonyan et al. 2014)."""

import copy
import functools
from collections.abc import Iterable
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from xcnn.attribution.batch import Batch
from xcnn.attribution.input_method import InputMethod
from xcnn.errors import UserError
from xcnn.models.fold import Folded

Kind = Literal["absolute", "signed", "sum", "input_times"]


class Differentiable(Batch):
    """A batch whose logits can be differentiated by its images, for any targets: again only if `again` is set."""

    def __init__(self, images: Tensor, network: nn.Module):
        self._start = images.detach().requires_grad_()
        with torch.enable_grad():
            # The network may work in place on its input, which a leaf does not allow.
            self._output = network(self._start.clone())
        super().__init__(images, self._output)

    def gradient(self) -> Tensor:
        """dY/dx (N, C, H, W) of each image's target; zero where the network ignores its input."""
        if not self._output.requires_grad:
            return torch.zeros_like(self._start)
        start = torch.zeros_like(self.logits).scatter_(1, self.targets[:, None], 1)
        (found,) = torch.autograd.grad(
            self._output, self._start, start, retain_graph=self.again, allow_unused=True, materialize_grads=True
        )
        return found


def transposed(affine: nn.Module, images: Tensor, gradient: Tensor) -> Tensor:
    """The gradient (N, C, H, W) at the images of an affine layer, from the one at its output."""
    with torch.enable_grad():
        start = images.detach().requires_grad_()
        (found,) = torch.autograd.grad(affine(start), start, gradient)
    return found


class Gradient(InputMethod):
    """dY/dx (eqs. 4-6).

    Args:
        kind: how a map is made of the channels. "absolute": the greatest absolute value (eq. 6); "signed": the value
            of that channel, with its sign; "sum": the sum; "input_times": the sum of x dY/dx, which is the relevance
            as well.
        model, chunk: as for `InputMethod`.
    """

    def __init__(self, model: nn.Module, kind: Kind = "absolute", chunk: int | None = None):
        super().__init__(model, chunk)
        if kind not in get_args(Kind):
            raise UserError(f"kind is {kind!r}; choose one of {', '.join(get_args(Kind))}.")
        self.kind = kind
        self._folded = Folded(self.network)

    def record(self, images: Tensor) -> Differentiable:
        return Differentiable(images, self.network)

    def attribute(self, batch: Batch) -> Tensor:
        assert isinstance(batch, Differentiable)
        gradient = batch.gradient()
        return gradient * batch.images if self.kind == "input_times" else gradient

    def summed(self, batch: Batch, versions: Iterable[Tensor]) -> Tensor:
        first, rest = self._folded()
        if self.kind == "input_times":
            folded = copy.copy(self)
            folded.network = nn.Sequential(first, rest)
            return InputMethod.summed(folded, batch, versions)

        def gradient(features: Tensor) -> Tensor:
            at = Differentiable(features, rest)
            at.targets = batch.targets
            return at.gradient()

        return transposed(first, batch.images, functools.reduce(torch.add, map(gradient, map(first, versions))))

    def reduce(self, relevance: Tensor) -> Tensor:
        if self.kind in ("sum", "input_times"):
            return relevance.sum(1)
        greatest = relevance.abs().max(1, keepdim=True)
        if self.kind == "signed":
            return relevance.gather(1, greatest.indices)[:, 0]
        return greatest.values[:, 0]
