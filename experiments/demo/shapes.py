"""The demo: DeConvolve's loss on `shapes`, drawn on the fly, with true masks to check the maps against.

Paper:      Meeradevi et al. 2025, eq. 1, algorithm 1, sections 3.2 to 4.2, on a data set of our own.
Command:    make demo
Reports:    nothing on this data set.
Cost:       three trainings of a few epochs on 4,000 pictures of 32 px: 2 to 3 minutes on 2 CPU cores, 1 GB.
Deviations: `shapes` in CIFAR-10's place; few epochs. Localisation, which the paper does not measure, is possible
            because the masks are known.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from experiments.deconvolve.feature_map_means import with_all_maps
from xcnn.data.tensors import TensorDataModule, scale
from xcnn.evaluation.feature_maps import measure_feature_maps
from xcnn.evaluation.filters import FilterExplainer
from xcnn.evaluation.selection import choose_image
from xcnn.evaluation.subject import Subject, networks
from xcnn.figures import BeforeAfter, filter_comparison, save_png, score_ramp
from xcnn.filters import ramp
from xcnn.language import MeasuredDescriber
from xcnn.launch import Setup, launch
from xcnn.metrics.localisation import energy_inside, pointing_game
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    run = setup.trained()
    found = measure_feature_maps(cell, run, options.layers)
    explainer = FilterExplainer(run, options.figure.layer, MeasuredDescriber())
    values = {**found.values, **_localisation(explainer, run.data)}
    files: list[str] = []
    details: dict[str, object] = {}
    if options.penalty is not None:  # the pictures show before and after
        before = setup.variant("penalty=none").trained()
        files, details = _pictures(setup, cell, before, run, explainer)
    return replace(found, values=values, files=files, details=details)


@torch.inference_mode()
def _localisation(explainer: FilterExplainer, data: TensorDataModule) -> dict[str, float]:
    """Where the layer looks for the predicted class: ReLU(sum_k score_ck A_k) against the object's mask."""
    energy, pointing = [], []
    masks = data.test.masks["object"].bool()
    for part in torch.arange(len(data.test)).split(500):
        maps = explainer.split.trunk(scale(data.test.images[part]))
        predicted = explainer.split.head(maps).argmax(1)
        class_maps = torch.einsum("nk,nkhw->nhw", explainer.scores[predicted], maps).relu()
        energy.append(energy_inside(class_maps, masks[part]))
        pointing.append(pointing_game(class_maps, masks[part]))
    return {
        "energy": float(torch.cat(energy).nanmean()),
        "pointing": float(torch.cat(pointing).mean()),
        "chance": float(masks.float().mean()),
    }


def _pictures(
    setup: Setup, cell: Cell, before: Subject, after: Subject, new: FilterExplainer
) -> tuple[list[str], dict[str, object]]:
    """Filters after the loss and those of the same index before it on one image a class, and their ramps."""
    options = setup.options
    old = FilterExplainer(before, options.figure.layer, MeasuredDescriber())
    pairs = []
    for label in options.figure.labels:
        choice = choose_image([before.network, after.network], after.data, label, correct=True)
        strongest = new.ranked(choice.image, label)[: options.figure.top]
        pairs += [(choice, old.explain(choice, label, k), new.explain(choice, label, k)) for k in strongest]
    filters = f"shapes-filters-{options.method}.png"
    rows = [BeforeAfter(choice.image, b.view, a.view) for choice, b, a in pairs]
    save_png(
        filter_comparison(rows, f"{options.figure.layer}, {options.method} loss", new.threshold), cell.folder / filters
    )
    target = after.data.classes.index(options.figure.labels[0])
    curves = ramp(after.network, options.figure.layer, after.data.input_size)[:, target]
    strongest = new.scores[target].abs().argsort(descending=True)[:6].tolist()
    ramps = f"shapes-ramp-{options.method}.png"
    named = {f"{options.figure.layer}/{index}": curves[:, index].numpy() for index in strongest}
    save_png(score_ramp(named, options.figure.labels[0], f"{options.method} loss"), cell.folder / ramps)
    words = [{"image": choice.index, "label": choice.label, **a.as_record()} for choice, _, a in pairs]
    used = networks(before=before, after=after)
    return [filters, ramps], {"layer": options.figure.layer, "filters": words, "networks": used}


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    columns = [
        Column("accuracy", "test accuracy"),
        Column("dead", "dead filters"),
        Column("silent", "silent maps"),
        Column("area", "area (live)"),
        Column("black_pixels", "black share of all maps"),
        Column("dispersion", "dispersion (live)"),
        Column("succinctness", "succinctness"),
        Column("energy", "energy in the object"),
        Column("pointing", "pointing game"),
        Column("chance", "object's share (chance)"),
    ]
    return Summary(
        "Demo: concise learning on shapes",
        columns=columns,
        facts={"methods": {row.method: row for row in with_all_maps(rows)}},
        verdict="not comparable",
    )


if __name__ == "__main__":
    launch(__file__, measure, summarise)
