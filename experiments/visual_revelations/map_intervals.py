"""Clear methods, uncertainty: how far does an attribution map depend on the training's seed and on its images?

Paper:      Abbas 2024, "Responsible Communication of Uncertainty" (confidence intervals).
Command:    make visual-revelations-map-intervals
Reports:    no number; that limitations and uncertainties of explanations should be communicated, as by intervals.
Cost:       8 trainings of half a minute on one CPU core and 2 minutes for the maps, on the embedded data.
Deviations: the paper asks for intervals and names none. Ours are Student's, of each location over networks that differ
            in the training's seed, or in a bootstrap resample of the training images, for one class of one image.
"""

from collections.abc import Sequence
from typing import Any

import torch

from xcnn.evaluation.gallery import Gallery
from xcnn.evaluation.image_rows import metrics_of, with_intervals
from xcnn.evaluation.map_intervals import half_width, interval_rows, normalised
from xcnn.evaluation.selection import select_images
from xcnn.evaluation.subject import networks
from xcnn.figures import Estimate, heat_map_grid, protocol_plot, save_png
from xcnn.launch import Setup, launch
from xcnn.launch.titles import titled
from xcnn.metrics.ranking import at_size
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary
from xcnn.report.verdicts import spread

KINDS = {"seeds": "seed", "bootstrap": "data.draw"}  # what the networks of a kind differ in
TITLES = {"seeds": "other seeds", "bootstrap": "other training images"}
METRICS = {
    "agree": "rank correlation of two networks' maps",
    "width": "half-width of the interval, in mean relevance",
    "sure": "share of locations that are told from the mean",
    "covered": "share of a further network's map in the interval",
}


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    subjects = {
        kind: [setup.variant(f"{key}={place}").explained() for place in range(options.networks)]
        for kind, key in KINDS.items()
    }
    chosen = {name: setup.variant(f"attribution={name}") for name in options.methods}
    methods = {
        kind: {name: [each.attribution(one) for one in own] for name, each in chosen.items()}
        for kind, own in subjects.items()
    }
    rows = interval_rows(cell, subjects, methods, options.level, options.chunk)
    rows = rows[~rows["broken"].astype(bool)]
    values = with_intervals(rows[metrics_of(rows)])
    first = subjects["seeds"][0]
    shown = select_images([first], options.figure.rules, options.figure.pictures)
    panels: dict[str, torch.Tensor] = {}
    for name in options.figure.methods:
        own = methods["seeds"][name]
        gallery = Gallery.of(first, {name: own[0]}, shown)
        inputs, targets = first.normalise(first.scaled(shown)), gallery.explanations[name].targets
        maps = normalised(torch.stack([at_size(each(inputs, targets), shown.images.shape[2:]) for each in own])).cpu()
        half = half_width(maps, options.level)
        panels |= {f"{titled(name)}, mean": maps.mean(0), "half-width of " + titled(name): half}
    file = f"map_intervals-{options.dataset}-{options.network}-maps.png"
    save_png(heat_map_grid(gallery.rows(panels), list(panels)), cell.folder / file)
    made = {f"{kind} {place}": one for kind, own in subjects.items() for place, one in enumerate(own)}
    details = {"networks": networks(**made), "level": options.level, "count": options.networks}
    return first.measured(values, len(rows), details=details, files=[file])


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    drawings, found = {}, list[dict[str, Any]]()
    for row in rows:
        names = [name.split("/")[1] for name in row.mean if name.startswith("agree/") and name.endswith("/seeds")]
        ranked = sorted(names, key=lambda name: -row.mean[f"agree/{name}/seeds"])
        file = f"map_intervals-{row.dataset}-{row.model}.png"
        drawings[file] = protocol_plot(
            [
                Estimate(TITLES[kind], title, titled(name), *ends(row, f"{metric}/{name}/{kind}"))
                for name in ranked
                for kind in KINDS
                for metric, title in METRICS.items()
            ]
        )
        kept = {
            (name, kind): spread(row, f"covered/{name}/{kind}").high >= row.records[0]["details"]["level"]
            for name in ranked
            for kind in KINDS
        }
        found.append(
            {"row": row, "methods": ranked, "file": file, "maps": file.replace(".png", "-maps.png"), "kept": kept}
        )
    columns = [
        Column(f"agree/{name}/{kind}", f"agreement, {titled(name)}, {TITLES[kind]}")
        for name in found[0]["methods"]
        for kind in KINDS
    ]
    all_kept = [each for one in found for each in one["kept"].values()]
    return Summary(
        "Clear methods and visual revelations: intervals of maps",
        columns,
        drawings,
        verdict="reproduced" if all(all_kept) else "not reproduced",
        facts={"networks": found, "kinds": TITLES, "metrics": METRICS, "kept": all_kept},
    )


def ends(row: Row, metric: str) -> tuple[float, float, float]:
    """A value and the ends of its interval over images."""
    found = spread(row, metric)
    return found.value, found.low, found.high


if __name__ == "__main__":
    launch(__file__, measure, summarise)
