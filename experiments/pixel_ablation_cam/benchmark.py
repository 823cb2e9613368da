"""Pixel Ablation-CAM, section 4.5: our maps against those of the grad-cam package, in one run.

Paper:      Samanta et al. 2025, section 4.5; the comparison is ours.
Command:    make pixel-ablation-cam-benchmark
Reports:    nothing. Aimed at: on ResNet-50, maps for at most 1.1 forward passes and 1.5 times their memory; on VGG-16,
            2.5 passes for Ablation-CAM and 1.5 for Pixel Ablation-CAM; 1000 and 150 times faster than the package's
            AblationCAM, and twice as fast as its GradCAM.
Cost:       2 cells, 5 minutes on 2 CPU cores (float32) that do nothing else, 4 GB; `ARGS="trainer=gpu"` on a GPU.
Deviations: the package's AblationCAM runs the whole network for each channel and picture: measured on a few channels
            spread over the layer, and extrapolated. VGG-16's weights are random, which changes no speed.
"""

import contextlib
import io
import math
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from typing import Any

import pytorch_grad_cam
import torch
from pytorch_grad_cam.ablation_layer import AblationLayer
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from xcnn.attribution import AblationCAM, upsample
from xcnn.evaluation.gallery import correlation
from xcnn.figures import Cost, cost_plot
from xcnn.launch import Setup, launch
from xcnn.metrics.cost import FORWARD, beside_forward, forward_pass, ratios
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary
from xcnn.report.tables import markdown

PEERS = ("grad_cam", "ablation_cam")  # those of our methods that the package has
PARTS = ("time", "memory")


class SomeChannels(AblationLayer):
    """The package's own layer, given the channels to ablate, (c,)."""

    def __init__(self, channels: Tensor):
        super().__init__()
        self.channels = channels.numpy()

    def activations_to_be_ablated(self, activations: Any, ratio_channels_to_ablate: float = 1.0) -> Any:
        self.indices = self.channels
        return self.channels


class KeepsWeights(pytorch_grad_cam.AblationCAM):
    """The package's Ablation-CAM, which also keeps its weights (n, K)."""

    def get_cam_weights(self, *args: Any) -> Any:
        self.weights = super().get_cam_weights(*args)
        return self.weights


class Package:
    """grad-cam's methods of the same pictures, classes and layer as ours."""

    def __init__(self, network: nn.Module, layer: str, images: Tensor, targets: Tensor):
        self.network, self.layers, self.images = network, [network.get_submodule(layer)], images
        self.outputs = [ClassifierOutputTarget(target) for target in targets.tolist()]

    def maps(self) -> Tensor:
        """Of its GradCAM, (n, H, W)."""
        with pytorch_grad_cam.GradCAM(self.network, self.layers) as method:
            return torch.from_numpy(method(self.images, self.outputs))

    def weights(self, channels: Tensor) -> Tensor:
        """Of its AblationCAM, (n, c), ablating only these channels (c,)."""
        layer = SomeChannels(channels)
        with (
            contextlib.redirect_stderr(io.StringIO()),  # its progress bars
            KeepsWeights(self.network, self.layers, ablation_layer=layer) as method,
        ):
            method(self.images, self.outputs)
            return torch.from_numpy(method.weights)[:, channels]


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    subject = setup.explained()
    network, layer = subject.network, options.cam_layer
    images = subject.normalise(subject.scaled(subject.pictures.read(range(options.batch))))
    methods = {name: setup.variant(f"attribution={name}").attribution(subject) for name in options.methods}
    values, found = beside_forward(
        network,
        images,
        {name: partial(method.explain, images) for name, method in methods.items()},
        options.repeats,
    )
    targets, maps = found["grad_cam"].targets, upsample(found["grad_cam"].maps, images.shape[2:])
    weights = AblationCAM(network, layer).weights(images, targets)

    package = Package(network, layer, images, targets)
    theirs, results = beside_forward(network, images, {"grad_cam": package.maps}, options.package.repeats)
    values |= {f"{part}/package_grad_cam": theirs[f"{part}/grad_cam"] for part in PARTS}
    values["agreement/grad_cam"] = float(correlation(maps.cpu(), results["grad_cam"]).nanmean())

    n_channels = weights.shape[1]
    channels = torch.linspace(0, n_channels - 1, options.package.channels).long()
    parts = {"none": partial(package.weights, channels[:0]), "some": partial(package.weights, channels)}
    timed = ratios({FORWARD: forward_pass(network, images), **parts}, FORWARD, 1, images.device)
    each = (timed["some"].ratio - timed["none"].ratio) / len(channels)
    values["time/package_ablation_cam"] = timed["none"].ratio + n_channels * each
    ours, others = weights[:, None, channels.to(weights.device)].cpu(), timed["some"].result[:, None]
    values["agreement/ablation_cam"] = float(correlation(ours, others).nanmean())

    for name in PEERS:
        values[f"faster/{name}"] = values[f"time/package_{name}"] / values[f"time/{name}"]
    network.zero_grad()
    details = {
        "package": version("grad-cam"),
        "channels": [len(channels), n_channels],
        "threads": options.threads,
    }
    return subject.measured(values, len(images), details=details)


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    header = ["network", "method", "time", "memory", "grad-cam: time", "memory", "times faster", "correlation"]
    lines, costs, notes = [], [], []
    for record in (record for row in rows for record in row.records):
        values, network = record["values"], record["model"]
        for name in record["settings"]["methods"]:
            ours, theirs = ([values.get(f"{part}/{key}") for part in PARTS] for key in (name, f"package_{name}"))
            beside = [values.get(f"{part}/{name}") for part in ("faster", "agreement")]
            lines.append([network, name, *map(_shown, (*ours, *theirs, *beside))])
            for (time, memory), whose in ((ours, "ours"), (theirs, "grad-cam")):
                if time is not None:
                    few = whose == "grad-cam" and name == "ablation_cam"
                    costs.append(Cost(name, f"{network}, {whose}", time, memory or math.nan, few))
        few, every = record["details"]["channels"]
        notes.append(
            f"{network} at `{record['settings']['cam_layer']}`, {record['n']} pictures at a time on "
            f"{record['device']} ({record['details']['threads']} threads on a CPU), "
            f"{'random weights' if record['weights'] is None else 'weights ' + record['weights']}, grad-cam "
            f"{record['details']['package']}: its AblationCAM is measured on {few} of {every} channels of each picture "
            "and extrapolated."
        )
    text = (
        "Time and peak memory of the tensors over those of one plain forward pass of the same pictures, measured in "
        "turn with it; the explanation's own forward pass is included. `correlation` is the mean over the pictures of "
        "that of our maps with the package's (Grad-CAM), of our weights with its of the channels measured "
        f"(Ablation-CAM).\n\n{markdown(header, lines)}\n\n" + "\n\n".join(notes)
    )
    columns = [
        *(Column(f"time/{name}", f"{name} / forward pass") for name in rows[0].records[0]["settings"]["methods"]),
        *(Column(f"faster/{name}", f"grad-cam's / our {name}", 1) for name in PEERS),
    ]
    drawings = {"benchmark-costs.png": cost_plot(costs)}
    captions = {"benchmark-costs.png": "Costs over those of one forward pass, ours and those of the grad-cam package."}
    return Summary("Pixel Ablation-CAM: against the grad-cam package", text, columns, drawings, captions)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.4g}"


if __name__ == "__main__":
    launch(__file__, measure, summarise)
