"""What figures 6, 8 and 9 share: maps of several methods on the same pictures, drawn for a few, measured on many."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pandas as pd

from experiments.pixel_ablation_cam.comparisons import by_method
from experiments.white_box.families import DRAWN_DATA
from xcnn.evaluation.gallery import Gallery
from xcnn.evaluation.image_rows import differences, image_rows, with_intervals
from xcnn.evaluation.map_appearance import QUANTITIES, appearance
from xcnn.evaluation.selection import select_images
from xcnn.figures import relevance_grid, save_png
from xcnn.launch import Setup
from xcnn.launch.titles import titled
from xcnn.report import Cell, Claim, Measured, Row, Summary, claim

Says = tuple[str, str, str, Literal["lower", "higher"]]  # metric, first, second, the first is


def measure_maps(setup: Setup, cell: Cell) -> Measured:
    """One picture of the maps of `figure.methods` on the chosen images, and what all maps look like."""
    options = setup.options
    subject, figure = setup.explained(), options.figure
    methods = setup.attributions(subject, figure.methods)
    gallery = Gallery.of(subject, methods, select_images([subject], figure.rules, figure.pictures))
    scales = {titled(_method(name)): figure.scales[name] for name in methods}
    maps = {titled(_method(name)): explanation.maps for name, explanation in gallery.explanations.items()}
    file = f"{cell.experiment.partition('/')[2]}-{options.dataset}.png"
    save_png(relevance_grid(gallery.rows(maps), scales), cell.folder / file)
    rows = image_rows(cell, subject, options.chunk, lambda batch: appearance(subject, methods, batch))
    tables = {
        name: rows[[f"{quantity}/{name}" for quantity in QUANTITIES]].rename(columns=lambda each: each.split("/")[0])
        for name in methods
    }
    details = {"layer": options.cam_layer, "pictures": gallery.as_records()}
    return subject.measured(_compared(tables, figure.pairs), len(rows), details=details, files=[file])


def _compared(tables: Mapping[str, pd.DataFrame], pairs: Sequence[Sequence[str]]) -> dict[str, float]:
    """`quantity/method` with intervals, and the paired differences of `pairs`."""
    values: dict[str, float] = {}
    for name, table in tables.items():
        values |= with_intervals(table.add_suffix(f"/{_method(name)}"))
    for first, second in pairs:
        own, other = (tables[name].add_suffix(f"/{_method(first)}") for name in (first, second))
        values |= differences(own, other, f"less_{_method(second)}")
    return values


def _method(name: str) -> str:
    """A configuration's method: `conf/attribution/lrp.yaml` is that of LRP-epsilon."""
    return "lrp_epsilon" if name == "lrp" else name


def summary_of_maps(title: str, rows: Sequence[Row], says: Sequence[Says]) -> Summary:
    """The survey's claims on each data set; those on photographs make the verdict."""
    claims: list[Claim] = []
    measured: list[dict[str, Any]] = []
    for row in rows:
        own = by_method(row, [_method(name) for name in row.settings["figure"]["methods"]])
        measured.append({"row": row, "methods": own})
        counts = row.dataset != DRAWN_DATA
        claims += [claim(own, metric, first, second, sign, counts=counts) for metric, first, second, sign in says]
    return Summary(title, claims=claims, facts={"measured": measured, "claim_digits": 4})
