"""Pixel Ablation-CAM, section 4.5: our maps against those of the grad-cam package, in one run.

Paper:      Samanta et al. 2025, section 4.5; the comparison is ours.
Command:    make pixel-ablation-cam-benchmark
Reports:    nothing. Aimed at: on ResNet-50, maps for at most 1.1 forward passes and 1.5 times their memory; on VGG-16,
            2.5 passes for Ablation-CAM and 1.5 for Pixel Ablation-CAM; 1000 and 150 times faster than the package's
            AblationCAM, and twice as fast as its GradCAM.
Cost:       2 cells, 5 minutes on 2 CPU cores (float32) that do nothing else, 4 GB; `ARGS="trainer=gpu"` on a GPU.
Deviations: the package's AblationCAM runs the whole network for each channel and image: measured on a few channels
            spread over the layer, and extrapolated. VGG-16's weights are random, which changes no speed.
"""

import math
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version

import torch

from experiments.pixel_ablation_cam.peers import PARTS, package_values
from xcnn.figures import Cost, cost_plot
from xcnn.launch import Setup, launch
from xcnn.launch.titles import titled
from xcnn.metrics.cost import beside_forward
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary

PEERS = ("grad_cam", "ablation_cam")  # those of our methods that the package has


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    subject = setup.explained()
    network = subject.network
    images = subject.normalise(subject.scaled(subject.pictures.read(range(options.batch))))
    methods = setup.attributions(subject, options.methods)
    calls = {name: partial(method.explain, images) for name, method in methods.items()}
    values, found = beside_forward(network, images, calls, options.repeats)
    package, channels = package_values(
        network, options.cam_layer, images, found["grad_cam"], options.package.repeats, options.package.channels
    )
    values |= package
    for name in PEERS:
        values[f"faster/{name}"] = values[f"time/package_{name}"] / values[f"time/{name}"]
    network.zero_grad()
    details = {"package": version("grad-cam"), "channels": channels, "threads": options.threads}
    return subject.measured(values, len(images), details=details)


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    """The comparison is ours: the paper measures nothing of the kind."""
    lines, costs = [], []
    for row in rows:
        for name in row.settings["methods"]:
            ours, theirs = ([row.mean.get(f"{part}/{key}") for part in PARTS] for key in (name, f"package_{name}"))
            beside = [row.mean.get(f"{part}/{name}") for part in ("faster", "agreement")]
            lines.append((row, name, [*ours, *theirs, *beside]))
            for (time, memory), whose in ((ours, "ours"), (theirs, "grad-cam")):
                if time is not None:
                    few = whose == "grad-cam" and name == "ablation_cam"
                    costs.append(Cost(titled(name), f"{titled(row.model)}, {whose}", time, memory or math.nan, few))
    methods = rows[0].settings["methods"]
    columns = [
        *(Column(f"time/{name}", f"{titled(name)} / forward pass") for name in methods),
        *(Column(f"faster/{name}", f"grad-cam's / our {titled(name)}", 1) for name in PEERS),
    ]
    return Summary(
        "Pixel Ablation-CAM: against the grad-cam package",
        columns=columns,
        drawings={"benchmark-costs.png": cost_plot(costs)},
        facts={"lines": lines, "peers": PEERS},
        verdict="not comparable",
    )


if __name__ == "__main__":
    launch(__file__, measure, summarise)
