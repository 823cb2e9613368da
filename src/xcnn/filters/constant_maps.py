"""Running a network's head on maps that are constant, one filter's at a time, exactly and without redundant work.

Two facts make it cheap. Until the first convolution mixes channels, each sample differs from the others in one channel
only, so that all filters fit into one sample, and that convolution needs one slice of its kernel for each (`OneMap`).
And constant maps stay equal along most rows and columns: only what the zero padding touches differs, so equal rows and
columns are held, and their windows computed, once (`Maps`). Any other operation gets ordinary tensors.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.modules import dropout
from torch.nn.modules.utils import _pair
from torch.utils._pytree import tree_map_only

__all__ = ["ConstantMaps", "Maps", "OneMap"]


@dataclass(frozen=True)
class Maps:
    """Maps (N, K, h, w) whose equal rows and columns are held once.

    Attributes:
        values: (N, K, r, c).
        rows: for each of the h rows, which of the r it is.
        columns: for each of the w columns, which of the c it is.
    """

    values: Tensor
    rows: tuple[int, ...]
    columns: tuple[int, ...]

    def dense(self) -> Tensor:
        """(N, K, h, w)."""
        return self.values[:, :, list(self.rows)][..., list(self.columns)]

    def each(self, function: Callable[[Tensor], Tensor]) -> "Maps":
        """`function` of each value by itself, or of each of the `windows`."""
        return replace(self, values=function(self.values))

    def windows(self, kernel: Any, stride: Any, dilation: Any = 1, padding: Sequence[int] = (0, 0, 0, 0)) -> "Maps":
        """The windows of a convolution or pooling side by side, (N, K, r kernel, c kernel), equal ones once.

        `padding` with zeros is (left, right, top, bottom). What is then made of each window, with a stride of the
        kernel size, has the rows and columns of the result.
        """
        kernel, stride, dilation = _pair(kernel), _pair(stride), _pair(dilation)
        rows, taken_rows = _windows(self.rows, kernel[0], stride[0], dilation[0], padding[2:])
        columns, taken_columns = _windows(self.columns, kernel[1], stride[1], dilation[1], padding[:2])
        values = F.pad(self.values, (0, 1, 0, 1)) if any(padding) else self.values  # a zero row and column for index -1
        height, width = values.shape[2:]
        at_rows = torch.tensor([place % height for place in taken_rows], device=values.device)
        at_columns = torch.tensor([place % width for place in taken_columns], device=values.device)
        values = values.permute(0, 2, 3, 1)  # channels last: whole rows of channels are copied at a time
        return Maps(values.index_select(1, at_rows).index_select(2, at_columns).permute(0, 3, 1, 2), rows, columns)

    def mean(self) -> "Maps":
        """Global average pooling, (N, K, 1, 1)."""
        h, w = len(self.rows), len(self.columns)
        down = self.values.new_tensor([self.rows.count(row) / h for row in range(self.values.shape[2])])
        across = self.values.new_tensor([self.columns.count(column) / w for column in range(self.values.shape[3])])
        return Maps((self.values @ across @ down)[..., None, None], (0,), (0,))

    def convolved(self, layer: nn.Conv2d) -> "Maps":
        """The convolution, in the memory layout channels last, the faster one."""
        windows = self.windows(layer.kernel_size, layer.stride, layer.dilation, layer._reversed_padding_repeated_twice)
        values = windows.values.contiguous(memory_format=torch.channels_last)
        return replace(
            windows, values=F.conv2d(values, layer.weight, layer.bias, layer.kernel_size, groups=layer.groups)
        )


def _windows(
    index: tuple[int, ...], kernel: int, stride: int, dilation: int, padding: Sequence[int]
) -> tuple[tuple[int, ...], list[int]]:
    """Which distinct window each place of the result has, and the places of all distinct windows in a row."""
    padded = (-1,) * padding[0] + index + (-1,) * padding[1]
    reach = dilation * (kernel - 1) + 1
    windows = [padded[start : start + reach : dilation] for start in range(0, len(padded) - reach + 1, stride)]
    number = {window: i for i, window in enumerate(dict.fromkeys(windows))}
    return tuple(number[window] for window in windows), [place for window in number for place in window]


@dataclass(frozen=True)
class OneMap:
    """A batch (F * steps + 1, K, h, w) of samples with one channel of their own each; all other channels are shared.

    The steps of a filter are together; the last sample has the shared channels alone.

    Attributes:
        own: (steps, K, h, w), at [s, k] channel k of the sample of filter k and step s.
        shared: (1, K, h, w).
        filters: (F,), which of the K filters have samples.
    """

    own: Maps
    shared: Maps
    filters: Tensor

    def each(self, function: Callable[[Maps], Maps]) -> "OneMap":
        """A function that acts on every channel by itself."""
        return OneMap(function(self.own), function(self.shared), self.filters)

    def maps(self) -> Maps:
        """The batch."""
        n, steps = len(self.filters), len(self.own.values)
        batch = self.shared.values.repeat(n * steps + 1, 1, 1, 1)
        samples = batch[:-1].unflatten(0, (n, steps))
        own = self.own.values[:, self.filters].transpose(0, 1)
        samples[torch.arange(n, device=batch.device), :, self.filters] = own
        return replace(self.shared, values=batch)

    def convolved(self, layer: nn.Conv2d) -> Maps:
        """The convolution of the batch: that of the shared channels, plus one slice of the kernel for each sample."""
        if layer.groups > 1:
            return self.maps().convolved(layer)
        shared = self.shared.convolved(layer)
        change = self.own.each(lambda own: (own - self.shared.values)[:, self.filters])
        windows = change.windows(
            layer.kernel_size, layer.stride, layer.dilation, layer._reversed_padding_repeated_twice
        )
        values = windows.values.transpose(0, 1).flatten(0, 1)[:, None]  # (F * steps, 1, r kernel, c kernel)
        patches = F.unfold(values, layer.kernel_size, stride=layer.kernel_size).transpose(1, 2)
        patches = patches.unflatten(0, (len(self.filters), -1)).flatten(1, 2)  # (F, steps * places, kernel)
        kernels = layer.weight[:, self.filters].flatten(2).permute(1, 2, 0)  # (F, kernel, out)
        response = (patches @ kernels).unflatten(1, (-1, *shared.values.shape[2:])).flatten(0, 1).permute(0, 3, 1, 2)
        return replace(shared, values=torch.cat([response.add_(shared.values), shared.values]))


_POINTWISE_MODULES = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh, nn.Hardswish, nn.Hardtanh),
    *(nn.BatchNorm2d, nn.Identity, dropout._DropoutNd),
)
_POINTWISE_FUNCTIONS = (F.relu, torch.relu, F.relu6, F.leaky_relu, F.elu, F.gelu, F.silu, torch.sigmoid, torch.tanh)


class ConstantMaps(fx.Interpreter):
    """Runs a head on a `OneMap`."""

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        module = self.fetch_attr(target)
        if len(args) == 1 and not kwargs and isinstance(args[0], OneMap | Maps):
            if isinstance(module, nn.Conv2d) and module.padding_mode == "zeros":
                return args[0].convolved(module)
            if (function := _channelwise(module)) is not None:
                return args[0].each(function) if isinstance(args[0], OneMap) else function(args[0])
        return super().call_module(target, *_dense(args, kwargs))

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if target in _POINTWISE_FUNCTIONS and len(args) == 1:
            if isinstance(args[0], OneMap):
                return args[0].each(lambda maps: maps.each(lambda values: target(values, **kwargs)))
            if isinstance(args[0], Maps):
                return args[0].each(lambda values: target(values, **kwargs))
        return super().call_function(target, *_dense(args, kwargs))

    def call_method(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        args, kwargs = _dense(args, kwargs)
        if target == "view":  # legal in the layout that the network itself would have given this tensor
            args = (args[0].contiguous(), *args[1:])
        return super().call_method(target, args, kwargs)

    def output(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return super().output(target, *_dense(args, kwargs))


def _channelwise(module: nn.Module) -> Callable[[Maps], Maps] | None:
    """What a module does to maps if it acts on each channel by itself and can be done to distinct rows and columns."""
    if isinstance(module, nn.BatchNorm2d) and module.running_mean is None:
        return None  # its statistics are those of the batch
    if isinstance(module, _POINTWISE_MODULES):
        return lambda maps: maps.each(module)
    if isinstance(module, nn.AdaptiveAvgPool2d) and _pair(module.output_size) == (1, 1):
        return Maps.mean
    if not isinstance(module, nn.MaxPool2d | nn.AvgPool2d) or any(_pair(module.padding)) or module.ceil_mode:
        return None
    kernel, stride = module.kernel_size, module.stride
    if isinstance(module, nn.AvgPool2d):
        divisor = module.divisor_override
        return lambda maps: maps.windows(kernel, stride).each(
            lambda values: F.avg_pool2d(values, kernel, divisor_override=divisor)
        )
    if module.return_indices:
        return None
    return lambda maps: maps.windows(kernel, stride, module.dilation).each(lambda values: F.max_pool2d(values, kernel))


def _dense(args: Any, kwargs: Any) -> Any:
    args, kwargs = tree_map_only(OneMap, OneMap.maps, (args, kwargs))
    return tree_map_only(Maps, Maps.dense, (args, kwargs))
