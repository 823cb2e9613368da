"""Clear methods, uncertainty: how far does an attribution map depend on the training's seed and on its images?

Paper:      Abbas 2024, "Responsible Communication of Uncertainty" (confidence intervals).
Command:    make visual-revelations-map-intervals
Reports:    no number; that limitations and uncertainties of explanations should be communicated, as by intervals.
Cost:       8 trainings of half a minute on one CPU core and 2 minutes for the maps, on the embedded data.
Deviations: the paper asks for intervals and names none. Ours are Student's, of each location over networks that differ
            in the training's seed, or in a bootstrap resample of the training images, for one class of one image.
"""

from experiments.visual_revelations.map_intervals_page import KINDS, summarise
from xcnn.evaluation.image_rows import metrics_of, with_intervals
from xcnn.evaluation.map_intervals import check_enough, interval_rows, means_and_widths
from xcnn.evaluation.selection import select_images
from xcnn.evaluation.subject import networks
from xcnn.figures import save_png
from xcnn.launch import Setup, launch
from xcnn.launch.titles import titled
from xcnn.report import Cell, Measured


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    check_enough(options.networks)  # before any is trained
    subjects = {
        kind: [setup.variant(f"{key}={place}").explained() for place in range(options.networks)]
        for kind, key in KINDS.items()
    }
    methods = {}
    for kind, own in subjects.items():
        of_each = [setup.attributions(one, options.methods) for one in own]
        methods[kind] = {name: [found[name] for found in of_each] for name in options.methods}
    rows = interval_rows(cell, subjects, methods, options.level, options.chunk)
    rows = rows[~rows["broken"].astype(bool)]
    values = with_intervals(rows[metrics_of(rows)])
    first = subjects["seeds"][0]
    shown = select_images([first], options.figure.rules, options.figure.pictures)
    drawn = {titled(name): methods["seeds"][name] for name in options.figure.methods}
    file = f"map_intervals-{options.dataset}-{options.network}-maps.png"
    save_png(means_and_widths(first, drawn, shown, options.level), cell.folder / file)
    made = {f"{kind} {place}": one for kind, own in subjects.items() for place, one in enumerate(own)}
    details = {"networks": networks(**made), "level": options.level, "count": options.networks}
    return first.measured(values, len(rows), details=details, files=[file])


if __name__ == "__main__":
    launch(__file__, measure, summarise)
