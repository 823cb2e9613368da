"""How fast maps change along lines of inputs, by the depth of a network with random weights."""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd
import torch
from torch import nn

from xcnn.attribution import Method
from xcnn.evaluation.image_rows import differences, metrics_of, pool_metrics
from xcnn.evaluation.subject import Subject
from xcnn.metrics.shattering import autocorrelation, line
from xcnn.report.cells import Cell, Measured


def measure_shattering(
    cell: Cell,
    subject: Subject,
    network: Callable[[int], nn.Module],
    make: Callable[[nn.Module], Method],
    depths: Sequence[int],
    lags: Sequence[int],
    lines: int,
    steps: int,
    chunk: int,
) -> Measured:
    """A row for each line between two images, with the autocorrelation of the maps at each lag and depth.

    Each line has networks of its own. The class is the one predicted for the line's beginning.

    Args:
        network: a network of a depth, with random weights by PyTorch's seed.
        make: the method of a network.
        depths, lags: what autocorrelations are of: `lag1/08`.
        lines, steps: number of lines, and of inputs on each.
        chunk: number of lines whose rows a kill can cost.
    """

    def measure(places: range) -> pd.DataFrame:
        rows = []
        for place in places:
            batch = subject.pictures.read([2 * place, 2 * place + 1])
            ends = subject.normalise(subject.scaled(batch))
            inputs = line(ends[0], ends[1], steps)
            row: dict[str, object] = {"id": f"{batch.ids[0]} to {batch.ids[1]}", "broken": False}
            for depth in depths:
                torch.manual_seed(place)
                method = make(network(depth).eval().to(inputs.device))
                target = int(method.logits(inputs[:1]).argmax())
                found = autocorrelation(method(inputs, target), max(lags)).tolist()
                row |= {f"lag{lag}/{depth:02d}": found[lag] for lag in lags}
            rows.append(row)
        return pd.DataFrame(rows)

    rows = cell.rows(lines, chunk, measure)
    return subject.measured({name: float(rows[name].mean()) for name in metrics_of(rows)}, len(rows))


def pool_shattering(rows: Mapping[str, pd.DataFrame], reference: str) -> dict[str, dict[str, float]]:
    """What `pool_metrics` finds, and `less_shallowest`: each depth's difference to the least depth, line by line."""
    values = pool_metrics(rows, [reference])
    for method, frame in rows.items():
        table = frame[metrics_of(frame)]
        shallowest = min(str(name).partition("/")[2] for name in table)
        base = table[[f"{str(name).partition('/')[0]}/{shallowest}" for name in table]]
        values[method] |= differences(table, base.set_axis(table.columns, axis=1), "less_shallowest")
    return values
