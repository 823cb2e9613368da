"""Filter scores (DeConvolve, section 3.2 and algorithm 1): what a constant map at one filter does to each class.

The paper scores the predicted class; ours has an axis of all classes. A constant 1 is the paper's; since it is off the
data for most filters, `unit` may be each filter's own 95th percentile instead.

All filters go through the head together. With all other maps zero, what precedes the first convolution of the head
acts on one channel of each sample only, and so does that convolution; it is then a product with one of its slices.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.modules import dropout, pooling

from xcnn.errors import UserError
from xcnn.models.split import Split, split_at, split_at_each

__all__ = ["ramp", "score_filters", "score_layers"]


def score_filters(
    model: nn.Module,
    layer: str,
    input_size: Sequence[int] = (3, 32, 32),
    unit: float | Tensor = 1.0,
    batch_size: int = 256,
) -> Tensor:
    """Probability of each class with a constant map at one filter and zeros elsewhere, minus that with zeros alone.

    Args:
        model: a network of images to logits; left as it is, and scored in evaluation mode.
        layer: qualified name of the layer whose maps are set, after its ReLU in the paper.
        input_size: (C, H, W) of the network's images.
        unit: value of the constant map, one for all filters or one for each, (filters,).
        batch_size: maps of different filters that go through the head at a time.

    Returns:
        (classes, filters) in [-1, 1].

    Raises:
        UserError: the network cannot be cut there, the layer gives no maps, or `unit` does not fit.
    """
    return _effects(split_at(model, layer), input_size, unit, torch.ones(1), batch_size)[0]


def score_layers(
    model: nn.Module,
    layers: Iterable[str],
    input_size: Sequence[int] = (3, 32, 32),
    unit: float | Mapping[str, Tensor] = 1.0,
    batch_size: int = 256,
) -> dict[str, Tensor]:
    """All of algorithm 1: `score_filters` for each layer, tracing the network once.

    Args:
        model: as for `score_filters`.
        layers: qualified names of the layers.
        input_size: as for `score_filters`.
        unit: value of the constant map, or for each layer those of its filters, (filters,).
        batch_size: as for `score_filters`.

    Raises:
        UserError: as for `score_filters`, or a layer without units.
    """
    splits = split_at_each(model, layers)
    units = unit if isinstance(unit, Mapping) else dict.fromkeys(splits, unit)
    if missing := [layer for layer in splits if layer not in units]:
        raise UserError(f"unit has no values for layer {missing[0]!r}; it has: {', '.join(units) or 'none'}.")
    one = torch.ones(1)
    return {layer: _effects(cut, input_size, units[layer], one, batch_size)[0] for layer, cut in splits.items()}


def ramp(
    model: nn.Module,
    layer: str,
    input_size: Sequence[int] = (3, 32, 32),
    steps: int = 11,
    unit: float | Tensor = 1.0,
    batch_size: int = 256,
) -> Tensor:
    """The effect of section 3.2 as the constant rises from 0 to `unit` in equal steps; it need not be monotone.

    Args: as for `score_filters`; `steps` counts both ends.

    Returns:
        (steps, classes, filters): the first is 0, the last is the score.

    Raises:
        UserError: as for `score_filters`, or fewer than 2 steps.
    """
    if steps < 2:
        raise UserError(f"a ramp needs at least 2 steps; {steps} were asked for.")
    effects = _effects(split_at(model, layer), input_size, unit, torch.linspace(0, 1, steps)[1:], batch_size)
    return torch.cat([torch.zeros_like(effects[:1]), effects])


@torch.no_grad()
def _effects(
    split: Split, input_size: Sequence[int], unit: float | Tensor, fractions: Tensor, batch_size: int
) -> Tensor:
    """(steps, classes, filters): change of probability at each fraction of `unit`."""
    weight = next(split.root.parameters(), torch.zeros(()))
    # Interpreted: to generate code for a graph that runs once would cost more than it saves.
    features = fx.Interpreter(split.root, graph=split.trunk_graph).run(weight.new_zeros(1, *input_size))
    zeros = torch.zeros_like(features)
    if zeros.ndim != 4:
        raise UserError(f"layer {split.layer!r} gives {tuple(zeros.shape[1:])} per image, not maps (filters, h, w).")
    n_filters = zeros.shape[1]
    units = torch.as_tensor(unit).to(zeros)
    if units.shape not in ((), (n_filters,)) or not units.isfinite().all():
        raise UserError(
            f"unit must be a finite number or one for each of the {n_filters} filters of layer {split.layer!r}; "
            f"found a tensor of shape {tuple(units.shape)}."
        )
    values = fractions.to(zeros)[:, None] * units.expand(n_filters)
    if split.affine:
        maps, bias = split.affine_weight(zeros.shape[1:])
        logits = bias + values[:, :, None] * maps.sum((2, 3)).T
        return (logits.softmax(2) - bias.softmax(0)).transpose(1, 2)
    maps = values[:, :, None, None].expand(-1, -1, *zeros.shape[2:])
    filters = torch.arange(n_filters, device=zeros.device).split(max(1, batch_size // len(values)))
    head = _OneFilter(split.root, graph=split.head_graph)
    probabilities = [head.run(_OneMap(maps, zeros, some)).softmax(1) for some in filters]
    effects = torch.cat([part[:-1] - part[-1] for part in probabilities])
    return effects.unflatten(0, (n_filters, -1)).permute(1, 2, 0)


@dataclass(frozen=True)
class _OneMap:
    """A batch in which each sample has one channel of its own and shares all others; the last has the shared ones only.

    Attributes:
        own: (steps, K, h, w), at [s, k] channel k of the sample of filter k and step s.
        shared: (1, K, h, w), the channels of a sample without any map set.
        filters: (F,), which of the K filters have a sample.
    """

    own: Tensor
    shared: Tensor
    filters: Tensor

    def dense(self) -> Tensor:
        """(F * steps + 1, K, h, w), the steps of a filter together."""
        n, steps = len(self.filters), len(self.own)
        batch = self.shared.repeat(n * steps + 1, 1, 1, 1)
        samples = batch[:-1].unflatten(0, (n, steps))
        samples[torch.arange(n, device=batch.device), :, self.filters] = self.own[:, self.filters].transpose(0, 1)
        return batch

    def convolved(self, layer: nn.Conv2d) -> Tensor:
        """The convolution of `dense()`: that of the shared channels plus one channel's slice of the kernel."""
        shared = layer(self.shared).contiguous(memory_format=torch.channels_last)  # the faster layout from here on
        change = (self.own - self.shared)[:, self.filters].transpose(0, 1).flatten(0, 1)[:, None]
        change = F.pad(change, layer._reversed_padding_repeated_twice)
        patches = F.unfold(change, layer.kernel_size, layer.dilation, 0, layer.stride).transpose(1, 2)
        kernels = layer.weight[:, self.filters].flatten(2).permute(1, 2, 0)  # (F, kernel, out)
        response = patches.unflatten(0, (len(self.filters), -1)).flatten(1, 2) @ kernels  # (F, steps * places, out)
        maps = response.unflatten(1, (len(self.own), *shared.shape[2:])).flatten(0, 1).permute(0, 3, 1, 2)
        return torch.cat([maps.add_(shared), shared])


_CHANNELWISE = (
    *(pooling._MaxPoolNd, pooling._AvgPoolNd, pooling._AdaptiveAvgPoolNd, pooling._AdaptiveMaxPoolNd),
    *(nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh, nn.Hardswish, nn.Hardtanh),
    *(nn.BatchNorm2d, dropout._DropoutNd, nn.Identity),
)


class _OneFilter(fx.Interpreter):
    """Runs a head on a `_OneMap`, which stays one until an operation mixes its channels."""

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        module = self.fetch_attr(target)
        if len(args) == 1 and not kwargs and isinstance(one := args[0], _OneMap):
            if isinstance(module, _CHANNELWISE):
                return _OneMap(module(one.own), module(one.shared), one.filters)
            if isinstance(module, nn.Conv2d) and module.groups == 1 and module.padding_mode == "zeros":
                return one.convolved(module)
        return super().call_module(target, *_dense(args, kwargs))

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if target in (F.relu, torch.relu, F.max_pool2d, F.avg_pool2d) and isinstance(one := args[0], _OneMap):
            own, shared = (target(maps, *args[1:], **kwargs) for maps in (one.own, one.shared))
            return _OneMap(own, shared, one.filters)
        return super().call_function(target, *_dense(args, kwargs))

    def call_method(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        args, kwargs = _dense(args, kwargs)
        if target == "view":  # legal in the layout that the network itself would have given this tensor
            args = (args[0].contiguous(), *args[1:])
        return super().call_method(target, args, kwargs)

    def output(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return super().output(target, *_dense(args, kwargs))


def _dense(args: Any, kwargs: Any) -> Any:
    return torch.utils._pytree.tree_map_only(_OneMap, _OneMap.dense, (args, kwargs))
