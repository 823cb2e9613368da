"""Pixel Ablation-CAM, section 4.5: what an explanation costs, late and early in a network, in forward passes.

Paper:      Samanta et al. 2025, section 4.5.
Command:    make pixel-ablation-cam-complexity
Reports:    no numbers: n x m forward passes a picture at a layer of n x m locations, so the last layer is chosen.
Cost:       24 cells, 10 minutes on 2 CPU cores (float32) that do nothing else, 4 GB; `trainer=gpu` on a GPU.
Deviations: the ablations that the paper counts as passes are asked of the head alone, all at once where its beginning
            allows it, elsewhere by carrying on what they change. VGG-16's weights are random, which changes none of
            these costs. Earlier layers with one picture.
            Score-CAM is left out: a pass of the whole network for each channel is its cost by definition.
"""

from collections.abc import Sequence

import torch

from xcnn.figures import Cost, cost_plot
from xcnn.launch import Setup, launch
from xcnn.metrics.cost import beside_forward
from xcnn.models import split_at
from xcnn.report import Cell, Measured, PaperNumber, Row, Summary
from xcnn.report.tables import Record, markdown


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    subject = setup.explained()
    method = setup.attribution(subject)
    images = subject.normalise(subject.scaled(subject.pictures.read(range(options.batch))))
    values, found = beside_forward(subject.network, images, {"map": lambda: method.explain(images)}, options.repeats)
    values["ablations"] = float(found["map"].ablations.double().mean())
    maps = list(split_at(subject.network, options.cam_layer).trunk(images[:1]).shape[1:])
    return subject.measured(values, len(images), details={"maps": maps, "threads": options.threads})


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    records = sorted((record for row in rows for record in row.records), key=_place)
    header = ["network", "layer", "K x h x w", "pictures", "method", "ablations", "ms a picture", "time", "memory"]
    lines, costs = [], []
    for record in records:
        values, place = record["values"], f"{record['model']} {record['settings']['cam_layer']}"
        costs.append(Cost(record["method"], place, values["time/map"], values["memory/map"]))
        lines.append(
            [
                *place.split(),
                " x ".join(map(str, record["details"]["maps"])),
                str(record["n"]),
                record["method"],
                f"{values['ablations']:.0f}",
                f"{1000 * values['seconds/map'] / record['n']:.1f}",
                f"{values['time/map']:.2f}",
                f"{values['memory/map']:.2f}",
            ]
        )
    pixel = [
        f"{record['values']['ablations']:.0f} ablations at {record['settings']['cam_layer']} of {record['model']} take "
        f"{record['values']['time/map']:.3g} forward passes"
        for record in records
        if record["method"] == "pixel_ablation_cam"
    ]
    threads = ", ".join(sorted({str(record["details"]["threads"]) for record in records}))
    text = (
        "Time and peak memory of the tensors over those of one plain forward pass of the same pictures (224 x 224, "
        f"{threads} threads on a CPU), measured in turn with it; the explanation's own forward pass is included. "
        "`ablations`: those asked of the head for a picture, which the paper counts as passes. Late layers answer them "
        "by a closed form (ResNet-50's `layer4`) or a matrix product (VGG-16's last convolution and pooling); for the "
        "others what an ablation changes, and no more, is carried through the head.\n\n"
        f"Pixel Ablation-CAM: {'; '.join(pixel)}.\n\n{markdown(header, lines)}"
    )
    drawings = {"complexity-costs.png": cost_plot(costs)}
    captions = {"complexity-costs.png": "Costs over those of one forward pass, by method and layer."}
    return Summary("Pixel Ablation-CAM, section 4.5: complexity", text, drawings=drawings, captions=captions)


def _place(record: Record) -> tuple[str, int, int]:
    """By network, late layers first; methods stay in their order."""
    _, height, width = record["details"]["maps"]
    return record["model"], -record["n"], height * width


if __name__ == "__main__":
    launch(__file__, measure, summarise)
