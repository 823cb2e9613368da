"""White-box survey: ours beside captum's and zennit's, where relevance is right, and what it costs.

Paper:      Ayyar et al. 2021; the comparison is ours.
Command:    make white-box-benchmark
Reports:    nothing. Aimed at: relevance that sums to the output on every network; on ResNet-18 the passes, what is held
            of a forward pass, and the peaks of memory that `peers` names.
Cost:       11 cells, about 50 minutes on a CPU core that does nothing else, 35 of them for VGG-16's costs; 8 GB.
Deviations: random weights and noise, which bear on neither part. LRP by the tools has an epsilon of 1e-9, by ours 0.
            Without biases a reference of zeros is 0 throughout a network: a LayerNorm multiplies it by one over the
            root of its epsilon, and DeepLIFT's multipliers grow by half of that with each of ConvNeXt's.
"""

import warnings
from collections.abc import Sequence
from importlib.metadata import version

import torch

from experiments.white_box.peers import AIMS, costs, exactness, missed_aims
from xcnn.launch import Setup, launch
from xcnn.report import Cell, Measured, PaperNumber, Row, Summary

OFF = 1e-6  # error of a sum over the output that is no rounding


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    torch.set_num_threads(options.threads)
    network = setup.model(seed=options.seed)
    part = options[options.part]
    draw = torch.Generator().manual_seed(options.seed)
    images = torch.randn(part.images, 3, part.side, part.side, generator=draw)
    warnings.filterwarnings("ignore", module="captum")  # it sets hooks and takes gradients, as it should
    failed: dict[str, str] = {}
    if options.part == "exact":
        values = exactness(options.network, network, images, failed)
    else:
        rounds, layer = (part.rounds[options.network], part.rounds_of_slow), part.layers[options.network]
        values = costs(options.network, network, layer, images, part.slow, rounds, failed)
    tools = {name: version(name) for name in ("captum", "zennit")}
    details = {"failed": failed, "tools": tools, "threads": options.threads, "torch": version("torch")}
    return Measured(values, len(images), {"name": "noise", "manifest": f"seed {options.seed}"}, details=details)


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    parts = {part: [row for row in rows if row.method == part] for part in ("exact", "costs")}
    measured = next((row for row in parts["costs"] if row.model == "resnet18"), None)
    tools: dict[str, dict[str, None]] = {"lrp": {}, "deep_lift": {}, "guided": {}}
    for row in parts["exact"]:
        for name in (*row.mean, *(f"/{failed}" for failed in row.details["failed"])):
            method, _, tool = name.partition("/")[2].partition("/")
            tools[method].setdefault(tool)
    sums = {(name, row.model): row.mean[f"sum/{name}/ours"] for row in parts["exact"] for name in ("lrp", "deep_lift")}
    errors = {key: abs(value - 1) for key, value in sums.items()}
    off = [key for key, error in errors.items() if error > OFF]
    facts = {
        **parts,
        "aims": AIMS,
        "missed": missed_aims(measured.mean) if measured else [],
        "tools": {method: list(found) for method, found in tools.items()},
        "sums": sums,
        "off": off,
        "worst": max((error for key, error in errors.items() if key not in off), default=None),
        "names": list(
            dict.fromkeys(name.split("/")[2] for row in parts["costs"] for name in row.mean if name.startswith("time/"))
        ),
    }
    return Summary("White-box methods: against captum and zennit", verdict="not comparable", facts=facts)


if __name__ == "__main__":
    launch(__file__, measure, summarise)
