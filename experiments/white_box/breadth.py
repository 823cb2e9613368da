"""White-box survey: which networks does each of them explain, how exactly, and at what cost?

Paper:      Ayyar et al. 2021; not in the survey.
Command:    make white-box-breadth
Reports:    nothing. Aimed at: laws to 1e-9 on every network, and what is refused says why.
Cost:       17 cells, 18 minutes on one core of a busy CPU (float64 and float32), 4 GB.
Deviations: the survey does not ask. Random weights, and noise for images: neither bears on a law or on a cost.
            DeconvNet and guided backpropagation treat every activation as a ReLU, of which alone their papers speak.
"""

import copy
import math
import statistics
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from xcnn.errors import UserError
from xcnn.evaluation.laws import cases
from xcnn.launch import Setup, launch
from xcnn.metrics.cost import forward_pass, processor_ratios
from xcnn.report import Cell, Measured, PaperNumber, Row, Summary


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    torch.set_num_threads(options.threads)
    network = setup.model(seed=options.seed)
    draw = torch.Generator().manual_seed(options.seed)
    noise = torch.randn(options.timed.images, 3, options.side, options.side, generator=draw)
    values, refused, methods = dict[str, float](), dict[str, str](), dict[str, Any]()
    for name, case in cases(options.steps, options.samples).items():
        try:
            method = partial(case.make(network, noise), noise, 0)
            method()  # what it cannot explain it says here: without biases, denominators may be next to nothing
            methods[name] = method
        except UserError as error:
            refused[name] = str(error).partition(". ")[0]
        values[f"works/{name}"] = float(name in methods)
        if case.law is not None and name in methods:
            copied, images = copy.deepcopy(network).double(), noise[: options.images].double()
            values[f"error/{name}"] = case.law(copied, images, torch.arange(len(images)))
    forward = forward_pass(network, noise)
    costs = processor_ratios(methods, forward, options.timed.rounds)
    values |= {f"time/{name}": ratio for name, ratio in costs.items()}
    data = {"name": "noise", "manifest": f"seed {options.seed}"}
    return Measured(values, len(noise), data, details={"refused": refused, "threads": options.threads})


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    options = rows[0].settings
    every = cases(options["steps"], options["samples"])
    lines: list[dict[str, Any]] = []
    for name, case in every.items():
        errors = {row.model: row.mean.get(f"error/{name}", math.nan) for row in rows}
        errors = {model: error for model, error in errors.items() if not math.isnan(error)}
        costs = [row.mean[f"time/{name}"] for row in rows if f"time/{name}" in row.mean]
        lines.append(
            {
                "name": name,
                "says": case.says,
                "works": sum(row.mean[f"works/{name}"] for row in rows),
                "worst": max(errors.items(), key=lambda item: item[1], default=None),
                "costs": (statistics.median(costs), min(costs), max(costs)) if costs else None,
            }
        )
    exact = [line["worst"][1] for line in lines if line["worst"] and line["name"] != "integrated_gradients"]
    refusing: dict[int, list[str]] = {}  # networks by the number of methods that they refuse
    for row in rows:
        refusing.setdefault(len(row.details["refused"]), []).append(row.model)
    refused = [(count, refusing[count]) for count in sorted(refusing, reverse=True) if count]
    facts = {"lines": lines, "names": list(every), "worst": max(exact), "options": options, "refused": refused}
    return Summary("White-box methods: networks that they explain", verdict="not comparable", facts=facts)


if __name__ == "__main__":
    launch(__file__, measure, summarise)
