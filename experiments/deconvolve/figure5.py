"""DeConvolve, figure 5: the two renderings of a heat map on an image, for the eyes of a reader or a language model.

Paper:      Meeradevi et al. 2025, section 3.4.1 and figure 5.
Command:    make deconvolve-figure5
Reports:    a picture: the proportionate and the encircled rendering.
Cost:       one training of 50 epochs (shared with the other experiments), then seconds.
Deviations: the encircled rendering draws the contour of the smoothed, thresholded heat; the literal reading (threshold
            heat times image) stands beside it. The heat is the filter's own map of the image, not section 3.3's
            image-agnostic one, which shows no place in the last layer.
"""

from collections.abc import Sequence

import torch
from safetensors.torch import save

from xcnn.evaluation.filters import FilterExplainer
from xcnn.evaluation.predictions import accuracy
from xcnn.evaluation.selection import choose_image
from xcnn.evaluation.subject import Subject, networks
from xcnn.figures import renderings_figure, save_png
from xcnn.files import atomic
from xcnn.filters import activation_maps
from xcnn.language import MeasuredDescriber
from xcnn.launch import Setup, launch
from xcnn.report import Cell, Measured, PaperNumber, Row, Summary

UNIFORM = 0.01  # a map whose values lie closer together than this shows no place


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    run, settings = setup.trained(), options.figure
    choice = choose_image([run.network], run.data, settings.label, correct=True)
    explainer = FilterExplainer(run, settings.layer, MeasuredDescriber())
    shown = explainer.ranked(choice.image, settings.label)[: settings.top]
    views = [explainer.explain(choice, settings.label, index).view for index in shown]
    figure = renderings_figure(choice.image, views, settings.threshold, f"{settings.label}, {settings.layer}")
    save_png(figure, cell.folder / "figure5.png")
    values = {"accuracy": accuracy(run), "dead": explainer.activity.dead_share}
    values |= maximised(run, list(options.layers), settings.label)
    details = {"image": choice.index, "label": choice.label, "layer": settings.layer, "filters": shown}
    details["networks"] = networks(**{options.method: run})
    return run.measured(values, 1, details=details, files=["figure5.png"])


def maximised(run: Subject, layers: list[str], label: str) -> dict[str, float]:
    """Section 3.3: each filter's image-agnostic map for the class, kept beside the network's weights.

    Returns:
        `uniform.<layer>`, the share of the maps that show no place; for the last layer also
        `uniform_without_tv.<layer>`, the same without the total-variation term.
    """
    target = run.data.classes.index(label)
    assert run.folder is not None
    maps = {layer: activation_maps(run.network, layer, target, run.data.input_size) for layer in layers}
    with atomic(run.folder / f"activation_maps-{label}.safetensors", "wb") as stream:
        stream.write(save({layer: activations.contiguous() for layer, activations in maps.items()}))
    without = activation_maps(run.network, layers[-1], target, run.data.input_size, tv=0)
    shares = {f"uniform.{layer}": _uniform(activations) for layer, activations in maps.items()}
    return {**shares, f"uniform_without_tv.{layers[-1]}": _uniform(without)}


def _uniform(maps: torch.Tensor) -> float:
    return float((maps.amax((1, 2)) - maps.amin((1, 2)) < UNIFORM).float().mean())


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    return Summary("DeConvolve, figure 5: renderings", verdict="reproduced", facts={"uniform": UNIFORM})


if __name__ == "__main__":
    launch(__file__, measure, summarise)
