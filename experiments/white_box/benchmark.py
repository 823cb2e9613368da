"""White-box survey: ours beside captum's and zennit's, where relevance is right, and what it costs.

Paper:      Ayyar et al. 2021; the comparison is ours.
Command:    make white-box-benchmark
Reports:    nothing. Aimed at: relevance that sums to the output on every network; on ResNet-18 the passes of `AIMS`;
            of what autograd saves, at most 0.3 times by LRP-0 and guided backpropagation, and 1.2 times by the others.
Cost:       11 cells, about 45 minutes on a CPU core that does nothing else, 30 of them for VGG-16's costs; 8 GB.
Deviations: random weights and noise, which bear on neither part. LRP by the tools has an epsilon of 1e-9, by ours 0.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from typing import Any

import torch

from experiments.white_box.laws import relative
from experiments.white_box.peers import exact, held_by_walk, ours, saved_by_autograd, timed, without_biases
from xcnn.attribution import Gradient, WalkMethod
from xcnn.launch import Setup, launch
from xcnn.metrics.cost import forward_pass, peak_bytes, processor_ratios
from xcnn.report import Cell, Measured, PaperNumber, Row, Summary

# Forward passes aimed at on ResNet-18.
AIMS = {
    **dict.fromkeys(("gradient", "lrp_0", "guided_backprop", "deconvnet"), 2.2),
    **{"fem": 1.0, "lrp_epsilon": 2.4, "epsilon_plus": 3.3, "epsilon_gamma_box": 3.8, "lrp_alpha2_beta1": 4.4},
    **{"deep_lift": 2.7, "deep_lift_reveal_cancel": 7.5, "integrated_gradients": 67, "smooth_grad": 53},
}


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    torch.set_num_threads(options.threads)
    network = setup.model(seed=options.seed)
    part = options[options.part]
    draw = torch.Generator().manual_seed(options.seed)
    images = torch.randn(part.images, 3, part.side, part.side, generator=draw)
    warnings.filterwarnings("ignore", module="captum")  # it sets hooks and takes gradients, as it should
    failed: dict[str, str] = {}
    find = exactness if options.part == "exact" else costs
    values = find(options, network, images, failed)
    tools = {name: version(name) for name in ("captum", "zennit")}
    details = {"failed": failed, "tools": tools, "threads": options.threads, "torch": version("torch")}
    return Measured(values, len(images), {"name": "noise", "manifest": f"seed {options.seed}"}, details=details)


def exactness(options: Any, network: Any, images: Any, failed: dict[str, str]) -> dict[str, float]:
    """Of each tool: sum of relevance over the output, and error against input x gradient, on a network without biases.

    Guided backpropagation's error is the difference from ours, and `gradient/...` the one from the gradient.
    """
    network, images, targets = without_biases(network).double(), images.double(), torch.arange(len(images))
    scores = network(images).detach().gather(1, targets[:, None])[:, 0]
    gradient, values = Gradient(network).relevance(images, targets), dict[str, float]()
    found = {name: _tried(name, run, failed) for name, run in exact(options.network, network, images, targets).items()}
    for name, relevance in found.items():
        if relevance is None:
            continue
        if name.startswith("guided"):
            values[f"error/{name}"] = relative(relevance, found["guided/ours"])
            values[f"gradient/{name}"] = relative(relevance, gradient)
        else:
            shares = relevance.sum((1, 2, 3)) / scores
            values[f"sum/{name}"] = shares[(shares - 1).abs().argmax()].item()
            values[f"error/{name}"] = relative(relevance, images * gradient)
    return values


def costs(options: Any, network: Any, images: Any, failed: dict[str, str]) -> dict[str, float]:
    """Of each method of each tool: forward passes; of ours the memory as well."""
    part, values = options.costs, dict[str, float]()
    methods = ours(network, part.layers[options.network], images)
    functions: dict[str, Callable[[], Any]] = {
        f"ours/{name}": partial(each, images, 1) for name, each in methods.items()
    }
    for tool, runs in timed(options.network, network, images).items():
        functions |= {f"{tool}/{name}": run for name, run in runs.items()}
    functions = {
        name: run for name, run in functions.items() if _slow(name, part) or _tried(name, run, failed) is not None
    }
    forward = forward_pass(network, images)
    for slow, rounds in ((False, part.rounds), (True, part.rounds_of_slow)):
        chosen = {name: run for name, run in functions.items() if _slow(name, part) == slow}
        values |= {f"time/{name}": ratio for name, ratio in processor_ratios(chosen, forward, rounds).items()}
    saved, gradients = saved_by_autograd(network, images), peak_bytes(functions["ours/gradient"])
    for name, method in methods.items():
        if isinstance(method, WalkMethod):
            values[f"held/{name}"] = held_by_walk(method, images) / saved
        if name not in part.slow:
            values[f"peak/{name}"] = peak_bytes(functions[f"ours/{name}"]) / gradients
    return values


def _slow(name: str, part: Any) -> bool:
    return name.partition("/")[2] in part.slow


def _tried(name: str, run: Callable[[], Any], failed: dict[str, str]) -> Any:
    """What a method gives; None where it fails, as a tool may on any network in any way."""
    try:
        return run()
    except Exception as error:
        failed[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        return None


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    parts = {part: [row for row in rows if row.method == part] for part in ("exact", "costs")}
    measured = next((row for row in parts["costs"] if row.model == "resnet18"), None)
    missed = [name for name, aim in AIMS.items() if measured and round(measured.mean[f"time/ours/{name}"], 1) > aim]
    tools: dict[str, dict[str, None]] = {"lrp": {}, "deep_lift": {}, "guided": {}}
    for row in parts["exact"]:
        for name in (*row.mean, *(f"/{failed}" for failed in row.details["failed"])):
            method, _, tool = name.partition("/")[2].partition("/")
            tools[method].setdefault(tool)
    sums = [row.mean[f"sum/{name}/ours"] for row in parts["exact"] for name in ("lrp", "deep_lift")]
    facts = {
        **parts,
        "aims": AIMS,
        "missed": missed,
        "tools": {method: list(found) for method, found in tools.items()},
        "worst": max((abs(one - 1) for one in sums), default=None),
        "names": list(
            dict.fromkeys(name.split("/")[2] for row in parts["costs"] for name in row.mean if name.startswith("time/"))
        ),
    }
    return Summary("White-box methods: against captum and zennit", verdict="not comparable", facts=facts)


if __name__ == "__main__":
    launch(__file__, measure, summarise)
