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
from typing import Literal

from xcnn.evaluation.shortcut import VERSIONS, planted, reliance, shares_on_mark
from xcnn.figures import Estimate, protocol_plot
from xcnn.launch import Setup, launch
from xcnn.launch.titles import titled
from xcnn.report import Cell, Claim, Column, Measured, PaperNumber, Row, Summary, by_network, claim
from xcnn.report.verdicts import spread

MAIN = ("plain", "right_reasons", "right_reasons_elsewhere", "clean")
DRAWN = {
    "recall/without": "class found without the mark",
    "taken/with": "others taken for it with the mark",
    "accuracy/with": "accuracy with the mark on all images",
}
SAYS: dict[str, Literal["lower", "higher"]]
SAYS = {"accuracy/with": "higher", "recall/without": "higher", "taken/with": "lower"}


def measure(setup: Setup, cell: Cell) -> Measured:
    subject = setup.explained()
    data = planted(subject)
    methods = setup.attributions(subject, setup.options.methods)
    values = reliance(subject) | shares_on_mark(subject, methods)
    details = {"label": data.label, "marked": int(data.train.masks["mark"].flatten(1).max(1).values.sum())}
    return subject.measured(values, len(data.test), details=details)


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    drawings, claims, networks = {}, list[Claim](), []
    for (dataset, model), group in by_network(rows).items():
        found = {row.method: row for row in group}
        main = {method: found[method] for method in MAIN if method in found}
        claims += [
            claim(group, metric, "right_reasons", other, says, unit="share")
            for metric, says in SAYS.items()
            for other in ("plain", "right_reasons_elsewhere")
        ]
        file = f"feedback-{dataset}-{model}.png"
        drawings[file] = protocol_plot(
            [
                Estimate("", title, titled(method), *spread(row, metric, "rate").ends)
                for method, row in main.items()
                for metric, title in DRAWN.items()
            ]
        )
        grid = sorted((row for row in group if "-l" in row.method), key=lambda row: _strength(row))
        networks.append({"main": main, "grid": grid, "file": file, "rows": group})
    columns = [
        Column(f"{name}/{version}", f"{name}, {version}")
        for name in ("accuracy", "recall", "taken")
        for version in VERSIONS
    ]
    facts = {"networks": networks, "versions": VERSIONS, "claim_digits": 3}
    return Summary("Clear methods and visual revelations: feedback", columns, drawings, claims, facts=facts)


def _strength(row: Row) -> tuple[float, float]:
    penalty = row.settings["penalty"]
    return penalty["share"], penalty["strength"]


if __name__ == "__main__":
    launch(__file__, measure, summarise)
