"""Pixel Ablation-CAM, section 4.5: what an explanation costs, late and early in a network, in forward passes.

Paper:      Samanta et al. 2025, section 4.5.
Command:    make pixel-ablation-cam-complexity
Reports:    no numbers: n x m forward passes an image at a layer of n x m locations, so the last layer is chosen.
Cost:       22 cells, 10 minutes on 2 CPU cores (float32) that do nothing else, 4 GB; `trainer=gpu` on a GPU.
Deviations: the ablations that the paper counts as passes are asked of the head alone, all at once where its beginning
            allows it, elsewhere by carrying on what they change. VGG-16's weights are random, which changes none of
            these costs. Earlier layers with one image. Score-CAM is left out: a pass of the whole network for each
            channel is its cost by definition. That earlier layers bring "little additional interpretative benefits" is
            not measured.
"""

from collections.abc import Sequence

import torch

from experiments.pixel_ablation_cam.comparisons import PIXEL
from xcnn.figures import Cost, cost_plot
from xcnn.launch import Setup, launch
from xcnn.launch.titles import titled
from xcnn.metrics.cost import beside_forward
from xcnn.models import split_at
from xcnn.report import Cell, Claim, Measured, PaperNumber, Row, Summary


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
    details = {"maps": maps, "layer": options.cam_layer, "threads": options.threads}
    return subject.measured(values, len(images), details=details)


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    ordered = sorted(rows, key=_place)
    costs = [
        Cost(titled(row.method), f"{titled(row.model)} {layer(row)}", row.mean["time/map"], row.mean["memory/map"])
        for row in ordered
    ]
    pixel = [row for row in ordered if row.method == PIXEL]
    last = {row.model: row for row in reversed(pixel)}
    claims = [
        Claim("time/map", (PIXEL, PIXEL), (row, last[row.model]), "higher")
        for row in pixel
        if row is not last[row.model]
    ]
    facts = {"ordered": ordered, "pixel": pixel, "layer": layer, "claim_digits": 2}
    drawings = {"complexity-costs.png": cost_plot(costs)}
    return Summary("Pixel Ablation-CAM, section 4.5: complexity", drawings=drawings, claims=claims, facts=facts)


def layer(row: Row) -> str:
    """The layer of a row's maps, which its method's settings have as well."""
    record = row.records[0]
    found: str = (
        record["details"].get("layer")
        or record["settings"]["attribution"].get("layer")
        or record["settings"]["cam_layer"]
    )
    return found


def _place(row: Row) -> tuple[str, int, int]:
    """By network, late layers first; methods stay in their order."""
    _, height, width = row.details["maps"]
    return row.model, -row.records[0]["n"], height * width


if __name__ == "__main__":
    launch(__file__, measure, summarise)
