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
from xcnn.evaluation.subject import Subject
from xcnn.figures import CombinedMaps, SuccinctImage, save_png, succinct_learning
from xcnn.filters import combined_maps
from xcnn.launch import Setup, launch
from xcnn.models import capture
from xcnn.report import Cell, Measured, PaperNumber, Row, Summary
from xcnn.report.tables import markdown


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
    save_png(succinct_learning(rows, f"{options.method} loss"), cell.folder / file)
    values = {"accuracy": accuracy(after), "accuracy_before": accuracy(before)}
    for layer in layers:
        for when, maps in zip(("before", "after"), combined, strict=True):
            values[f"ratio_{when}.{layer}"] = sum(one[layer].ratio for one in maps) / len(maps)
    return after.measured(values, len(indices), details={"images": indices}, files=[file])


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
    lines: list[list[str]] = []
    captions: dict[str, str] = {}
    for record in (record for row in rows for record in row.records):
        values, method = record["values"], record["method"]
        accuracies = f"{values['accuracy_before']:.3f} -> {values['accuracy']:.3f}"
        lines += [
            [
                method,
                layer,
                f"{values[f'ratio_before.{layer}']:.3f}",
                f"{values[f'ratio_after.{layer}']:.3f}",
                accuracies,
            ]
            for layer in record["settings"]["layers"]
        ]
        caption = f"Figure 9 with the {method} loss: how many filters are active at each position, P outlined."
        captions |= dict.fromkeys(record["files"], caption)
    text = "Means over the pictured images only; `deconvolve/succinctness` has them over the test set.\n\n" + markdown(
        ["loss", "layer", "ratio before", "ratio after", "test accuracy"], lines
    )
    return Summary("DeConvolve, figure 9: succinct learning", text, captions=captions)


if __name__ == "__main__":
    launch(__file__, measure, summarise)
