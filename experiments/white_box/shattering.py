"""White-box survey, section 7: do maps turn into noise with depth, and which?

Paper:      Ayyar et al. 2021, section 7, after Balduzzi et al. 2017.
Command:    make white-box-shattering
Reports:    gradients, guided backpropagation and DeconvNet shatter: with depth they look more like white noise; LRP,
            DeepLIFT and FEM do not, as they compute no gradient. No number.
Cost:       20 lines of 64 inputs on both networks: 8 minutes of one CPU core for all but SmoothGrad and integrated
            gradients, 45 for these two.
Deviations: the survey measures nothing. Networks of 2 to 32 convolutions with random weights, along lines between two
            drawn images; Balduzzi et al. have fully connected networks of a single input.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from experiments.white_box.families import APART, BACKWARD, claims_between
from xcnn.evaluation.shattering import measure_shattering, pool_shattering
from xcnn.evaluation.subject import Subject
from xcnn.figures import AccuracySeries, tradeoff_plot
from xcnn.launch import Setup, launch
from xcnn.launch.compose import compose
from xcnn.launch.titles import titled
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary, claim_within
from xcnn.report.shards import side_by_side
from xcnn.report.verdicts import spread


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    subject = Subject(nn.Identity(), setup.data, nn.Identity(), None, device=setup.device)
    amounts = {name: options[name] for name in ("depths", "lags", "lines", "steps", "chunk")}
    return measure_shattering(cell, subject, lambda depth: setup.model(depth=depth), setup.method, **amounts)


def pool(rows: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, float]]:
    return pool_shattering(rows, reference="gradient")


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    chosen = compose("white_box/shattering")
    networks: dict[str, dict[str, Row]] = {}
    for group in side_by_side(rows).values():
        networks.setdefault(group[0].model, {row.method: row for row in group})
    depths = sorted({metric.split("/")[1] for row in rows for metric in row.mean if metric.startswith("lag1/")})
    plain = networks.get("deep_plain", {})
    deepest = f"lag1/{depths[-1]}" if depths else ""
    claims = [
        claim_within(plain[name], "lag1", (name, deepest), ("shallowest", f"lag1/{depths[0]}"), "lower")
        for name in BACKWARD
        if name in plain
    ]
    claims += claims_between(list(plain.values()), [deepest], APART, ["gradient"], "higher")
    file = "shattering-depth.png"
    series = [
        over_depths(group[name], titled(model), depths)
        for model, group in networks.items()
        for name in (*chosen.curves, "random")
        if name in group
    ]
    labels = ("convolutions", "autocorrelation at lag 1")
    drawings = {file: tradeoff_plot(series, *labels, log=True, parts=False)} if series else {}
    facts: dict[str, Any] = {"networks": networks, "depths": depths, "file": file, "lags": list(chosen.lags)}
    columns = [Column(f"lag1/{depth}", f"lag 1, depth {int(depth)}") for depth in depths]
    return Summary("White-box survey: shattering", columns=columns, drawings=drawings, claims=claims, facts=facts)


def over_depths(row: Row, heading: str, depths: Sequence[str]) -> AccuracySeries:
    """Autocorrelation by depth, with half the length of its interval."""
    mean, low, high = zip(*(spread(row, f"lag1/{depth}").ends for depth in depths), strict=True)
    return AccuracySeries.tested(heading, titled(row.method), list(map(int, depths)), mean, np.subtract(high, low) / 2)


if __name__ == "__main__":
    launch(__file__, measure, summarise, pool=pool)
