"""Clear methods, biases in training data: do explanations betray a network that relies on a planted mark?

Paper:      Abbas 2024, abstract ("identifying potential biases and errors in the training data") and conclusion.
Command:    make visual-revelations-shortcut
Reports:    no number; that visualisation helps to identify biases and errors in the training data.
Cost:       on one CPU core and for each seed 4 trainings of half a minute on the embedded data, 2 minutes for 30
            methods' maps of 24 images by 4 networks, half a minute for 6 surrogates of each, and a quarter for TCAV;
            sweep `black_box` (RISE, LIME, meaningful perturbation on 16 images): 9 minutes; `mnist`: 10 minutes a seed.
Deviations: the paper names no bias. Ours is a square of one colour on a share of one class's training images; a
            network trained without it is the control.
"""

from collections.abc import Mapping
from functools import partial

from torch import Tensor

from experiments.visual_revelations.shortcut_page import summarise
from xcnn.evaluation.shortcut import (
    CLEAN,
    all_decisions,
    concept_reliance,
    explained_places,
    maps_with_the_mark,
    mark_area,
    planted,
    relevance,
    relevance_rows,
    reliance,
    surrogate_reliance,
)
from xcnn.evaluation.subject import Subject, networks
from xcnn.evaluation.tcav import Draws
from xcnn.figures import save_png
from xcnn.launch import Setup, launch
from xcnn.launch.titles import titled
from xcnn.report import Cell, Measured


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    subjects = {str(share): setup.variant(f"data.probability={share}").explained() for share in options.probabilities}
    subject = subjects[CLEAN]
    places = explained_places(planted(subject), options.explained.marked, options.explained.others)
    methods = {share: setup.attributions(one, options.methods) for share, one in subjects.items()}
    values = relevance(relevance_rows(cell, methods, subject, places, options.chunk))
    for share, one in subjects.items():
        values |= {f"{name}/{share}": value for name, value in reliance(one).items()}
    decided = {share: all_decisions(one, options.fit_size) for share, one in subjects.items()}
    for kind in options.surrogates:
        for sees in options.views:
            own = setup.variant(f"surrogate={kind}", f"view={sees}")
            values |= of_surrogates(own, f"{kind}-{sees}", subjects, decided)
    if options.tcav:
        values |= of_concepts(setup, subjects)
    files = []
    drawn = {name: titled(name) for name in options.figure.methods if name in options.methods}
    if options.seed == options.figure.seed and drawn:
        files = [f"shortcut-{options.dataset}-{options.network}-maps.png"]
        save_png(maps_with_the_mark(subjects, methods, drawn), cell.folder / files[0])
    details = {
        "networks": networks(**subjects),
        "explained": dict(options.explained),
        "mark": {"label": planted(subject).label, "chance": mark_area(subject)},
    }
    return subject.measured(values, len(places), details=details, files=files)


def of_surrogates(
    own: Setup, name: str, subjects: Mapping[str, Subject], decided: Mapping[str, Mapping[str, Tensor]]
) -> dict[str, float]:
    """What the configured surrogate of each network betrays: `<value>/<surrogate>/<share of marked images>`."""
    make, values = partial(own.surrogate(), **{own.options.grows: own.options.size}), dict[str, float]()
    for share, one in subjects.items():
        found = surrogate_reliance(one, own.view, make, decided[share], own.options.shown)
        values |= {f"{value}/{name}/{share}": each for value, each in found.items()}
    return values


def of_concepts(setup: Setup, subjects: Mapping[str, Subject]) -> dict[str, float]:
    """What concept activation betrays of each network: `concept/<value>/<share of marked images>`."""
    chosen, sets, values = setup.options.tcav, setup.concepts(subjects[CLEAN]), dict[str, float]()
    draws, folder = Draws(**chosen.sets, seed=setup.options.seed), setup.kept_features
    for share, one in subjects.items():
        found = concept_reliance(one, sets, chosen.layer, chosen.vectors, chosen.c, draws, folder)
        values |= {f"{value}/{share}": each for value, each in found.items()}
    return values


if __name__ == "__main__":
    launch(__file__, measure, summarise)
