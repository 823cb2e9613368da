"""DeConvolve, figure 9: "improved succinct learning", how many filters are active where, before and after the loss.

Paper:      Meeradevi et al. 2025, section 4.2 and figure 9.
Command:    make deconvolve-figure9
Reports:    a picture.
Cost:       three trainings of 50 epochs (shared with the other experiments), then seconds.
Deviations: the images are the first of the test set, one a class named in the configuration, whatever the prediction.
"""

from collections.abc import Sequence

import torch

from xcnn.data.tensors import scale
from xcnn.evaluation.predictions import accuracy
from xcnn.evaluation.subject import Subject, networks
from xcnn.figures import CombinedMaps, SuccinctImage, save_png, succinct_learning
from xcnn.filters import combined_maps
from xcnn.launch import Setup, launch
from xcnn.launch.titles import titled
from xcnn.models import capture
from xcnn.report import Cell, Measured, PaperNumber, Row, Summary


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    after, before = setup.trained(), setup.variant("penalty=none").trained()
    data, layers = after.data, list(options.layers)
    labels = data.test.labels
    indices = [int(torch.nonzero(labels == data.classes.index(name))[0]) for name in options.figure.labels]
    images = scale(data.test.images[indices])
    combined = [_combined(run, images, layers) for run in (before, after)]
    rows = [
        SuccinctImage(images[i], name, combined[0][i], combined[1][i]) for i, name in enumerate(options.figure.labels)
    ]
    file = f"figure9-{options.method}.png"
    save_png(succinct_learning(rows, titled(options.method)), cell.folder / file)
    values = {"accuracy": accuracy(after), "accuracy_before": accuracy(before)}
    for layer in layers:
        for when, maps in zip(("before", "after"), combined, strict=True):
            values[f"ratio_{when}.{layer}"] = sum(one[layer].ratio for one in maps) / len(maps)
    details = {"images": indices, "networks": networks(before=before, after=after)}
    return after.measured(values, len(indices), details=details, files=[file])


@torch.inference_mode()
def _combined(run: Subject, images: torch.Tensor, layers: list[str]) -> list[dict[str, CombinedMaps]]:
    """For each image, the combined maps of each layer."""
    with capture(run.network, layers) as maps:
        run.network(images)
    found = {layer: combined_maps(maps[layer]) for layer in layers}
    return [{layer: _of_image(*found[layer], image) for layer in layers} for image in range(len(images))]


def _of_image(counts: torch.Tensor, inside: torch.Tensor, ratios: torch.Tensor, image: int) -> CombinedMaps:
    return CombinedMaps(counts[image].numpy(), inside[image].numpy(), float(ratios[image]))


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    """The paper's "improved": with its loss, the ratio is higher after than before, in every layer."""
    literal = next((row for row in rows if row.method == "literal"), None)
    title = "DeConvolve, figure 9: succinct learning"
    if literal is None:
        return Summary(title, facts={"rises": None}, verdict="not run")
    rises = {
        layer: literal.mean[f"ratio_after.{layer}"] > literal.mean[f"ratio_before.{layer}"]
        for layer in literal.settings["layers"]
    }
    return Summary(title, facts={"rises": rises}, verdict="reproduced" if all(rises.values()) else "not reproduced")


if __name__ == "__main__":
    launch(__file__, measure, summarise)
