"""Clear methods, human feedback: does a person's word on one explanation repair a network that learnt a shortcut?

Paper:      Abbas 2024, "Integration with Human Feedback".
Command:    make visual-revelations-feedback
Reports:    no number; that feedback improves models' explanations and brings them in line with people's expectations.
Cost:       trainings of half a minute on one CPU core, 22 of them on the embedded data, 6 shared with
            `make visual-revelations-shortcut`; sweep `mnist`: 9 of 5 minutes, which is not run by default.
Deviations: the paper names no way to learn from feedback. Ours is right for the right reasons (Ross et al. 2017) with
            masks of the mark, as a person who saw it in the maps would give them; the masks are the truth's.
"""

from collections.abc import Sequence

import torch

from xcnn.evaluation.shortcut import VERSIONS, planted, reliance
from xcnn.figures import Estimate, protocol_plot
from xcnn.launch import Setup, launch
from xcnn.launch.titles import titled
from xcnn.metrics.localisation import energy_inside
from xcnn.report import Cell, Claim, Column, Measured, PaperNumber, Row, Summary, claim
from xcnn.report.verdicts import spread

MAIN = ("plain", "right_reasons", "right_reasons_elsewhere", "clean")


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    subject = setup.explained()
    data, values = planted(subject), reliance(subject)
    part = data.tested("with")
    own = (part.labels == data.target).nonzero().flatten()
    images, masks = part.images[own], part.masks["mark"][own] > 0
    for name in options.methods:
        method = setup.variant(f"attribution={name}").attribution(subject)
        maps = [method(subject.prepare(some.to(subject.device))).cpu() for some in images.split(subject.batch)]
        values[f"share/{name}"] = float(energy_inside(torch.cat(maps), masks).nan_to_num(0).mean())
    details = {"label": data.label, "marked": int(data.train.masks["mark"].flatten(1).max(1).values.sum())}
    return subject.measured(values, len(data.test), details=details)


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    drawings, claims, networks = {}, list[Claim](), []
    for dataset, model in dict.fromkeys((row.dataset, row.model) for row in rows):
        group = [row for row in rows if (row.dataset, row.model) == (dataset, model)]
        main = {row.method: row for row in group if row.method in MAIN}
        for metric, says in (("accuracy/with", "higher"), ("recall/without", "higher"), ("taken/with", "lower")):
            for other in ("plain", "right_reasons_elsewhere"):
                claims.append(claim(group, metric, "right_reasons", other, says, unit="share"))  # type: ignore[arg-type]
        file = f"feedback-{dataset}-{model}.png"
        drawings[file] = protocol_plot(
            [
                Estimate("", title, titled(method), *interval_of(main[method], metric))
                for method in MAIN
                if method in main
                for metric, title in (
                    ("recall/without", "class found without the mark"),
                    ("taken/with", "others taken for it with the mark"),
                    ("accuracy/with", "accuracy with the mark on all images"),
                )
            ]
        )
        grid = sorted((row for row in group if "-l" in row.method), key=lambda row: _strength(row))
        networks.append({"main": main, "grid": grid, "file": file, "rows": group})
    columns = [
        Column(f"{name}/{version}", f"{name}, {version}")
        for name in ("accuracy", "recall", "taken")
        for version in VERSIONS
    ]
    return Summary(
        "Clear methods and visual revelations: feedback",
        columns=columns,
        drawings=drawings,
        claims=claims,
        facts={"networks": networks, "versions": VERSIONS, "claim_digits": 3},
    )


def interval_of(row: Row, metric: str) -> tuple[float, float, float]:
    """A value and the ends of its interval."""
    found = spread(row, metric)
    return found.value, found.low, found.high


def _strength(row: Row) -> tuple[float, float]:
    penalty = row.records[0]["settings"]["penalty"]
    return penalty["share"], penalty["strength"]


if __name__ == "__main__":
    launch(__file__, measure, summarise)
