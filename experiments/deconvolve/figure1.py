"""DeConvolve, figure 1: a feature map as the terms of the loss are added.

Paper:      Meeradevi et al. 2025, section 3.1 and figure 1.
Command:    make deconvolve-figure1
Reports:    a picture; "as the two new terms are progressively added, the feature map becomes more meaningful".
Cost:       four trainings of 2 epochs on 10,000 images (a minute each on a CPU core, shared with the sweep `terms` of
            the ablation).
Deviations: 2 epochs on 10,000 images, not 50 on all; all losses start from the same weights, so that filter k is the
            same filter to begin with. The image is one that the plain network gets right; the filters are those with
            the largest peak in the plain network's map of it.
"""

from collections.abc import Sequence

import torch

from xcnn.evaluation.predictions import accuracy
from xcnn.evaluation.selection import choose_image
from xcnn.figures import feature_map_progression, save_png
from xcnn.launch import Setup, launch
from xcnn.models import capture
from xcnn.report import Cell, Measured, PaperNumber, Row, Summary
from xcnn.report.tables import markdown
from xcnn.training import concise_terms

VARIANTS = {"plain": "none", "+ area": "area", "+ dispersion": "literal", "with floors": "floored"}


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    runs = {name: setup.variant(f"penalty={penalty}").trained() for name, penalty in VARIANTS.items()}
    data, settings = runs["plain"].data, options.figure
    choice = choose_image([runs["plain"].network], data, settings.label, correct=True)
    maps: dict[str, torch.Tensor] = {}
    values: dict[str, float] = {}
    for name, run in runs.items():
        with torch.inference_mode(), capture(run.network, [settings.layer]) as captured:
            run.network(choice.image[None])
        maps[name] = captured[settings.layer][0]
        area, dispersion = concise_terms(maps[name][None])
        live = area > 0
        values |= {
            f"accuracy {name}": accuracy(run),
            f"silent {name}": 1 - float(live.float().mean()),
            f"area {name}": float(area[live].mean()),
            f"dispersion {name}": float(dispersion[live].mean()),
        }
    filters = maps["plain"].amax((1, 2)).argsort(descending=True)[: settings.top].tolist()
    drawn = {name: activations.numpy() for name, activations in maps.items()}
    figure = feature_map_progression(
        choice.image, drawn, filters, f"{settings.layer}, {options.training.max_epochs} epochs"
    )
    save_png(figure, cell.folder / "figure1.png")
    details = {"image": choice.index, "label": choice.label, "layer": settings.layer, "filters": filters}
    return runs["with floors"].measured(values, 1, details=details, files=["figure1.png"])


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    parts = []
    for record in (record for row in rows for record in row.records):
        details, values = record["details"], record["values"]
        parts.append(
            f"Test image {details['image']} ({details['label']}), layer {details['layer']}, seed {record['seed']}. "
            "Area and dispersion are means over the maps that are live on this image; dead ones count as silent."
        )
        lines = [
            [name, *(f"{values[f'{metric} {name}']:.3f}" for metric in ("accuracy", "silent", "area", "dispersion"))]
            for name in VARIANTS
        ]
        parts.append(markdown(["loss", "test accuracy", "silent maps", "area", "dispersion"], lines))
    captions = {"figure1.png": "Figure 1: the same filters on the same image as the terms of the loss are added."}
    return Summary("DeConvolve, figure 1: adding the terms", "\n\n".join(parts), captions=captions)


if __name__ == "__main__":
    launch(__file__, measure, summarise)
