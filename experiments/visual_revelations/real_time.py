"""Clear methods, explanations in real time: how long does a person wait for the map of one image?

Paper:      Abbas 2024, "Real-time Explanations".
Command:    make visual-revelations-real-time
Reports:    no number; immediate explanations alongside predictions.
Cost:       20 calls of each of 30 methods with one image, and of a page of the explorer: a minute on one CPU core
            for each run on the embedded data; sweep `imagenet` (ResNet-50 at 224 px): an hour, 6 GB, which is not run
            by default.
Deviations: the paper gives no number and no machine. Processor time of one thread, which is the waiting time on a
            machine that does nothing else; the limit of what feels immediate is Nielsen's 100 ms (1993).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xcnn.apps.explorer.explanations import Chosen, Explanations
from xcnn.apps.explorer.networks import ExplainedNetwork
from xcnn.apps.explorer.state import State
from xcnn.data.tensors import scale
from xcnn.figures import Latency, latency_plot
from xcnn.launch import Setup, launch
from xcnn.launch.titles import titled
from xcnn.metrics.cost import FORWARD, forward_pass, latencies
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary

PAGE = "page"  # of the explorer: prediction, filters, neighbours and three maps


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    torch.set_num_threads(options.threads)
    subject = setup.explained()
    images = subject.normalise(subject.scaled(subject.pictures.read(range(options.rounds))))

    def one(call: Callable[[Tensor], Any], turn: int) -> None:
        call(images[turn : turn + 1])

    functions: dict[str, Callable[[int], Any]] = {
        FORWARD: lambda turn: forward_pass(subject.network, images[turn : turn + 1])()
    }
    for name in options.methods:
        functions[name] = partial(one, setup.variant(f"attribution={name}").attribution(subject))
    if options.explorer:
        functions[PAGE] = explorer_page(cell)
    rounds = {name: options.rounds_of_slow if name in options.slow else options.rounds for name in functions}
    taken = latencies(functions, rounds, subject.device)
    values: dict[str, float] = {}
    for name, each in taken.items():
        p50, p95 = np.percentile(each, [50, 95])
        values |= {f"p50/{name}": float(p50), f"p95/{name}": float(p95)}
    for name in functions:
        values |= {f"ratio_{end}/{name}": values[f"{end}/{name}"] / values[f"p50/{FORWARD}"] for end in ("p50", "p95")}
    details = {"threads": options.threads, "rounds": rounds, "size": list(images.shape[1:])}
    return subject.measured(values, len(images), details=details)


def explorer_page(cell: Cell) -> Callable[[int], Any]:
    """What the explorer's server computes for the page of a test image that it has not shown before."""
    own = [each for each in cell.overrides if not each.startswith(("experiment=", "identity="))]
    network, explanations = ExplainedNetwork("network", cell.experiment, *own), Explanations(lambda pictures: None)
    images, last = network.subject.data.test.images, -1

    def page(turn: int) -> None:
        nonlocal last
        last += 1  # what was shown before comes from the cache
        dict(explanations.page(network, State(), Chosen(scale(images[last]), f"test image {last}", None)))  # all of it

    return page


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    drawings, networks = {}, []
    for row in rows:
        names = [name.partition("/")[2] for name in row.mean if name.startswith("p50/")]
        ranked = sorted(
            (name for name in names if name not in (FORWARD, PAGE)), key=lambda name: row.mean[f"p50/{name}"]
        )
        shown = [*ranked, PAGE] if PAGE in names else ranked
        settings = row.records[0]["settings"]
        file = f"real_time-{row.dataset}-{row.model}.png"
        drawings[file] = latency_plot(
            [Latency(called(name), row.mean[f"p50/{name}"], row.mean[f"p95/{name}"]) for name in shown],
            row.mean[f"p50/{FORWARD}"],
            [settings["immediate"]],
            f"{titled(row.dataset)}, {titled(row.model)}",
        )
        prompt = [name for name in ranked if row.mean[f"p95/{name}"] <= settings["immediate"]]
        networks.append(
            {
                "row": row,
                "shown": shown,
                "ranked": ranked,
                "prompt": prompt,
                "file": file,
                "limit": settings["immediate"],
            }
        )
    columns = [Column(f"p50/{FORWARD}", "forward pass, p50, ms"), Column(f"p95/{FORWARD}", "forward pass, p95, ms")]
    most = all(2 * len(each["prompt"]) > len(each["ranked"]) for each in networks)
    return Summary(
        "Clear methods and visual revelations: explanations in real time",
        columns,
        drawings,
        verdict="reproduced" if most else "not reproduced",
        facts={"networks": networks, "forward": FORWARD, "page": PAGE, "called": called},
    )


def called(name: str) -> str:
    """A method's title; that of the explorer's page."""
    return "a page of the explorer" if name == PAGE else titled(name)


if __name__ == "__main__":
    launch(__file__, measure, summarise)
