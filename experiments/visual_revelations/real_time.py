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

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from experiments.visual_revelations.real_time_page import PAGE, summarise
from xcnn.apps.explorer.explanations import Chosen, Explanations
from xcnn.apps.explorer.networks import ExplainedNetwork
from xcnn.apps.explorer.state import State
from xcnn.data.tensors import scale
from xcnn.launch import Setup, launch
from xcnn.metrics.cost import FORWARD, forward_pass, latencies, waiting_times
from xcnn.report import Cell, Measured


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
    methods = setup.attributions(subject, options.methods)
    functions |= {name: partial(one, method) for name, method in methods.items()}
    if options.explorer:
        functions[PAGE] = explorer_page(cell)
    rounds = {name: options.rounds_of_slow if name in options.slow else options.rounds for name in functions}
    values = waiting_times(latencies(functions, rounds, subject.device))
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


if __name__ == "__main__":
    launch(__file__, measure, summarise)
