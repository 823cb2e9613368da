"""Filter scores (DeConvolve, section 3.2 and algorithm 1): what a constant map at one filter does to each class.

The paper scores the predicted class; ours has an axis of all classes. A constant 1 is the paper's; since it is off the
data for most filters, `unit` may be each filter's own 95th percentile instead.

All filters go through the head together, as `constant_maps` describes.
"""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, fx, nn

from xcnn.errors import UserError
from xcnn.filters.constant_maps import ConstantMaps, Maps, OneMap
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
    effects = _effects(
        split_at(model, layer), input_size, unit, torch.linspace(0, 1, steps, dtype=torch.float64)[1:], batch_size
    )
    return torch.cat([torch.zeros_like(effects[:1]), effects])


@torch.no_grad()
def _effects(
    split: Split, input_size: Sequence[int], unit: float | Tensor, fractions: Tensor, batch_size: int
) -> Tensor:
    """(steps, classes, filters): change of probability at each fraction of `unit`."""
    weight = next(split.root.parameters(), torch.zeros(()))
    # Interpreted: to generate code for a graph that runs once would cost more than it saves.
    features = fx.Interpreter(split.root, graph=split.trunk_graph).run(weight.new_zeros(1, *input_size))
    if features.ndim != 4:
        raise UserError(f"layer {split.layer!r} gives {tuple(features.shape[1:])} per image, not maps (filters, h, w).")
    _, n_filters, h, w = features.shape
    units = torch.as_tensor(unit, dtype=features.dtype, device=features.device)
    if units.shape not in ((), (n_filters,)) or not units.isfinite().all():
        raise UserError(
            f"unit must be a finite number or one for each of the {n_filters} filters of layer {split.layer!r}; "
            f"found a tensor of shape {tuple(units.shape)}."
        )
    values = fractions.to(features)[:, None] * units.expand(n_filters)
    if split.affine:
        maps, bias = split.affine_weight(features.shape[1:])
        logits = bias + values[:, :, None] * maps.sum((2, 3)).T
        return (logits.softmax(2) - bias.softmax(0)).transpose(1, 2)
    zeros = torch.zeros_like(values[:1])
    own, shared = (Maps(constants[:, :, None, None], (0,) * h, (0,) * w) for constants in (values, zeros))
    filters = torch.arange(n_filters, device=values.device).split(max(1, batch_size // len(values)))
    head = ConstantMaps(split.root, graph=split.head_graph)
    probabilities = [head.run(OneMap(own, shared, some)).softmax(1) for some in filters]
    effects = torch.cat([part[:-1] - part[-1] for part in probabilities])
    return effects.unflatten(0, (n_filters, -1)).permute(1, 2, 0)
