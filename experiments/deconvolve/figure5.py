"""DeConvolve, figure 5: the two renderings of a heat map on an image, for the eyes of a reader or a language model.

Paper:      Meeradevi et al. 2025, section 3.4.1 and figure 5.
Command:    make deconvolve-figure5
Reports:    a picture: the proportionate and the encircled rendering.
Cost:       one training of 50 epochs (shared with the other experiments), then seconds.
Deviations: the encircled rendering draws the contour of the smoothed, thresholded heat; the literal reading (threshold
            heat times image) stands beside it.
"""

from collections.abc import Sequence

from safetensors.torch import save

from xcnn.evaluation.filters import FilterExplainer
from xcnn.evaluation.predictions import accuracy
from xcnn.evaluation.selection import choose_image
from xcnn.evaluation.subject import Subject
from xcnn.figures import renderings_figure, save_png
from xcnn.files import atomic
from xcnn.filters import activation_maps
from xcnn.language import MeasuredDescriber
from xcnn.launch import Setup, launch
from xcnn.report import Cell, Measured, PaperNumber, Row, Summary


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
    values |= _maximise(run, list(options.layers), settings.label)
    details = {"image": choice.index, "label": choice.label, "layer": settings.layer, "filters": shown}
    return run.measured(values, 1, details=details, files=["figure5.png"])


def _maximise(run: Subject, layers: list[str], label: str) -> dict[str, float]:
    """Section 3.3: each filter's image-agnostic map for the class, kept beside the network's weights."""
    target = run.data.classes.index(label)
    assert run.folder is not None
    maps = {layer: activation_maps(run.network, layer, target, run.data.input_size) for layer in layers}
    with atomic(run.folder / f"activation_maps-{label}.safetensors", "wb") as stream:
        stream.write(save({layer: activations.contiguous() for layer, activations in maps.items()}))
    ranges = {layer: activations.amax((1, 2)) - activations.amin((1, 2)) for layer, activations in maps.items()}
    return {f"uniform.{layer}": float((spread < 0.01).float().mean()) for layer, spread in ranges.items()}


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    parts = []
    for record in (record for row in rows for record in row.records):
        details, values, layers = record["details"], record["values"], record["settings"]["layers"]
        uniform = ", ".join(f"{values[f'uniform.{layer}']:.2f} in {layer}" for layer in layers)
        parts += [
            f"Test image {details['image']} ({details['label']}), the highest-scoring live filters of "
            f"{details['layer']} in the {record['method']} network (test accuracy {values['accuracy']:.3f}, dead "
            f"filters of the layer {values['dead']:.2f}).",
            "Section 3.3's image-agnostic maps (gradient ascent on one filter's map for the class logit) are kept "
            "beside the network; the share of them that come out uniform, and so show no place, is "
            f"{uniform}. Under global pooling the last layer's gradient is the same at every location. What is drawn "
            "on the image is therefore the filter's own map.",
        ]
    captions = {
        "figure5.png": "Figure 5: image, heat, proportionate rendering, encircled rendering, its literal reading."
    }
    return Summary("DeConvolve, figure 5: renderings", "\n\n".join(parts), captions=captions)


if __name__ == "__main__":
    launch(__file__, measure, summarise)
