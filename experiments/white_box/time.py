"""White-box survey, section 7: what a map costs in forward passes, and is FEM's the cheapest?

Paper:      Ayyar et al. 2021, section 7, after Fuad et al. 2020.
Command:    make white-box-time
Reports:    gradient-based methods, Grad-CAM included, take longer than FEM; no number.
Cost:       five turns of each method, 4 images at a time, in three runs: 40 minutes of one CPU core with ResNet-50,
            minutes on shapes.
Deviations: the survey gives no number and no machine. Processor time on one thread over that of one plain forward
            pass of the same images, the median of turns in one run; three runs. Peak memory of the tensors.
"""

from collections.abc import Sequence
from functools import partial

import torch

from experiments.white_box.families import GRADIENTS, claims_between
from xcnn.figures import Cost, cost_plot
from xcnn.launch import Setup, launch
from xcnn.launch.titles import titled
from xcnn.metrics.cost import FORWARD, forward_pass, peak_bytes, processor_ratios, ratios
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary, by_network


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    torch.set_num_threads(options.threads)
    subject = setup.explained()
    methods = setup.attributions(subject, options.beside)
    methods["map"] = setup.attribution(subject)
    images = subject.normalise(subject.scaled(subject.pictures.read(range(options.batch))))
    calls = {name: partial(method, images) for name, method in methods.items()}
    forward = forward_pass(subject.network, images)
    if setup.device.type == "cpu":
        times = processor_ratios(calls, forward, options.repeats)
    else:
        timed = ratios({FORWARD: forward, **calls}, FORWARD, options.repeats, setup.device)
        times = {name: timed[name].ratio for name in calls}
    values = {f"time/{name}": each for name, each in times.items()}
    values["memory/map"] = peak_bytes(calls["map"], setup.device) / peak_bytes(forward, setup.device)
    values |= {f"over_{name}": times["map"] / times[name] for name in options.beside}
    return subject.measured(values, len(images), details={"threads": options.threads})


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    groups = list(by_network(rows).values())
    costs = [
        Cost(
            titled(row.method),
            f"{titled(row.model)}, {titled(row.dataset)}",
            row.mean["time/map"],
            row.mean["memory/map"],
        )
        for row in rows
    ]
    claims = [one for group in groups for one in claims_between(group, ["time/map"], ["fem"], GRADIENTS, "lower")]
    columns = [Column("time/map", "time", 2), Column("memory/map", "memory", 2)]
    facts = {"networks": [{"rows": group, "methods": {row.method: row for row in group}} for group in groups]}
    drawings = {"time-costs.png": cost_plot(costs)}
    return Summary("White-box survey: time and memory", columns, drawings, claims, facts=facts)


if __name__ == "__main__":
    launch(__file__, measure, summarise)
