"""Clear methods, biases in training data: do explanations betray a network that relies on a planted mark?

Paper:      Abbas 2024, abstract ("identifying potential biases and errors in the training data") and conclusion.
Command:    make visual-revelations-shortcut
Reports:    no number; that visualisation helps to identify biases and errors in the training data.
Cost:       on one CPU core and for each seed 4 trainings of half a minute on the embedded data, 2 minutes for 30
            methods' maps of 24 images by 4 networks, and half a minute for 6 surrogates of each; sweep `black_box`
            (RISE, LIME, meaningful perturbation on 16 images): 9 minutes; sweep `mnist`: 10 minutes a seed, 2 GB.
Deviations: the paper names no bias. Ours is a square of one colour on a share of one class's training images; a
            network trained without it is the control.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from xcnn.evaluation.shortcut import (
    CLEAN,
    VERSIONS,
    all_decisions,
    explained_places,
    planted,
    relevance,
    relevance_rows,
    reliance,
    surrogate_reliance,
)
from xcnn.evaluation.subject import Subject, networks
from xcnn.figures import Estimate, HeatMapRow, heat_map_grid, protocol_plot, save_png
from xcnn.launch import Setup, launch
from xcnn.launch.titles import titled
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary
from xcnn.report.verdicts import Interval, part

CONTROLS = ("centre", "edges", "random")  # blind to the network
ALARM = 0.9  # AUROC of finding the mark in maps of the clean network, from which a method cries wolf
SHARE, APART = "share on the mark", "AUROC, this network or the clean one"


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    subjects = {str(share): setup.variant(f"data.probability={share}").explained() for share in options.probabilities}
    subject = subjects[CLEAN]
    places = explained_places(planted(subject), options.explained.marked, options.explained.others)
    chosen = {name: setup.variant(f"attribution={name}") for name in options.methods}
    methods = {share: {name: own.attribution(one) for name, own in chosen.items()} for share, one in subjects.items()}
    values = relevance(relevance_rows(cell, methods, subject, places, options.chunk))
    for share, one in subjects.items():
        values |= {f"{name}/{share}": value for name, value in reliance(one).items()}
    decided = {share: all_decisions(one, options.fit_size) for share, one in subjects.items()}
    for kind in options.surrogates:
        for sees in options.views:
            own = setup.variant(f"surrogate={kind}", f"view={sees}")
            make = partial(own.surrogate(), **{own.options.grows: own.options.size})
            for share, one in subjects.items():
                found = surrogate_reliance(one, own.view, make, decided[share], options.shown)
                values |= {f"{name}/{kind}-{sees}/{share}": value for name, value in found.items()}
    files = [picture(setup, cell, subjects, methods)] if options.seed == options.figure.seed else []
    details = {
        "networks": networks(**subjects),
        "explained": dict(options.explained),
        "mark": {"label": planted(subject).label, "chance": mark_area(subject)},
    }
    return subject.measured(values, len(places), details=details, files=files)


def mark_area(subject: Subject) -> float:
    """Share of an image's pixels that the mark covers."""
    return planted(subject).side ** 2 / subject.data.test.images[0, 0].numel()


def picture(setup: Setup, cell: Cell, subjects: Mapping[str, Subject], methods: Mapping[str, Mapping[str, Any]]) -> str:
    """Draw one image of the marked class with the mark, explained by each network, into the cell's folder."""
    options, data = setup.options, planted(subjects[CLEAN])
    part = data.tested("with")
    place = int((part.labels == data.target).nonzero()[0])
    shown = [name for name in options.figure.methods if name in options.methods]
    top, left = data.place
    rows = []
    for share, one in subjects.items():
        image = one.prepare(part.images[place : place + 1].to(one.device))
        maps = {titled(name): methods[share][name](image)[0].clamp(min=0).cpu() for name in shown}
        predicted = one.classes[int(one.network(image).argmax())]
        box = torch.tensor([[left, top, left + data.side, top + data.side]])
        rows.append(HeatMapRow(part.images[place], f"says {predicted}", maps, box, label=marked(share)))
    file = f"shortcut-{options.dataset}-{options.network}-maps.png"
    save_png(heat_map_grid(rows, [titled(name) for name in shown]), cell.folder / file)
    return file


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.dataset, row.model), []).append(row)
    drawings, found = {}, []
    for (dataset, model), group in groups.items():
        main = group[0]
        shares = sorted({name.rpartition("/")[2] for name in main.mean if name.startswith("taken/")}, key=float)
        full = shares[-1]
        methods = {
            name.split("/")[1]: row for row in group for name in row.mean if name.startswith("apart/")
        }  # by method, the row that has it
        apart = {
            name: {share: widest(row, f"apart/{name}/{share}") for share in shares if share != CLEAN}
            for name, row in methods.items()
        }
        ranked = sorted(methods, key=lambda name: -apart[name][full].value)
        telling = [name for name in ranked if name not in CONTROLS and apart[name][full].low > 0.5]
        file = f"shortcut-{dataset}-{model}.png"
        drawings[file] = protocol_plot(
            [
                Estimate(
                    "", f"{title}, {marked(share)}", titled(name), *ends(methods[name], f"{metric}/{name}/{share}")
                )
                for name in ranked
                for title, metric, share in ((SHARE, "share", CLEAN), (SHARE, "share", full), (APART, "apart", full))
            ]
        )
        found.append(
            {
                "row": main,
                "shares": shares,
                "full": full,
                "methods": {name: methods[name] for name in ranked},
                "apart": apart,
                "telling": telling,
                "alarmed": [n for n in ranked if n not in CONTROLS and methods[n].mean[f"auroc/{n}/{CLEAN}"] >= ALARM],
                "tracks": {name: tracks(methods[name], main, name, shares) for name in ranked},
                "asked": [name for name in ranked if name not in CONTROLS],
                "file": file,
                "maps": f"shortcut-{dataset}-{model}-maps.png",
                "mark": main.records[0]["details"]["mark"],
                "surrogates": sorted({name.split("/")[1] for name in main.mean if name.startswith("names/")}),
            }
        )
    columns = [
        Column(f"{name}/{version}/{share}", f"{name} {version}, {marked(share)}")
        for name in ("recall", "taken")
        for version in VERSIONS
        for share in found[0]["shares"]
    ]
    most = all(2 * len(each["telling"]) > len(each["asked"]) for each in found)
    return Summary(
        "Clear methods and visual revelations: a planted shortcut",
        columns=columns,
        drawings=drawings,
        verdict="reproduced" if most else "not reproduced",
        facts={"networks": found, "versions": VERSIONS, "clean": CLEAN, "controls": CONTROLS, "alarm": ALARM},
    )


def tracks(row: Row, main: Row, method: str, shares: Sequence[str]) -> float:
    """Spearman's correlation, over networks, of the relevance on the mark and of how far the network needs the mark.

    That is the share of the class that is found with the mark, less the share that is found without it. NaN where the
    relevance is the same for all networks.
    """
    needs = {record["seed"]: record["values"] for record in main.records}
    pairs = [
        (
            record["values"][f"share/{method}/{share}"],
            needs[record["seed"]][f"recall/with/{share}"] - needs[record["seed"]][f"recall/without/{share}"],
        )
        for record in row.records
        for share in shares
        if record["seed"] in needs
    ]
    relevant, needed = np.array(pairs).T
    return float(spearmanr(relevant, needed).statistic) if np.ptp(relevant) else math.nan


def widest(row: Row, metric: str) -> Interval:
    """The mean over seeds, with the lowest and the highest end of all seeds' own intervals over images.

    Unlike an interval of a few seeds' mean it stays within the range that a metric has.
    """
    low, high = (
        pick(record["values"][part(metric, end)] for record in row.records)
        for pick, end in ((min, "low"), (max, "high"))
    )
    return Interval(row.mean[metric], low, high, "images", row.records[0]["n"])


def ends(row: Row, metric: str) -> tuple[float, float, float]:
    """A value and the ends of its interval over images."""
    found = widest(row, metric)
    return found.value, found.low, found.high


def marked(share: str) -> str:
    """`0.5` as `50 % marked`."""
    return f"{100 * float(share):.0f} % marked"


if __name__ == "__main__":
    launch(__file__, measure, summarise)
