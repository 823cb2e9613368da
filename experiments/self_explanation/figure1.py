"""Post-hoc self-explanation, figure 1: the interpretation sheet of an image, by B4 and by B234.

Paper:      Boubekki & Clemmensen 2026, figure 1 and section 3.3.
Command:    make self-explanation-figure1
Reports:    pictures of one woodpecker of CUB-200.
Cost:       the trainings and prototypes of `make self-explanation-table2` (shared), then a minute a cell on a CPU.
Deviations: other data (table 2); of CUB-200 half of the classes, by a ResNet-18 that keeps its ImageNet weights. The
            paper does not say how it chose its image: the first test image of a class that the network and both
            explanations get right, or any by `figure.picture=<id>`.
"""

from collections.abc import Sequence
from typing import Any

from experiments.self_explanation.networks import STANDS_IN
from xcnn.errors import UserError
from xcnn.evaluation.interpretation import candidates, first_right, interpret
from xcnn.evaluation.subject import Subject
from xcnn.figures import interpretation_sheet, save_png
from xcnn.launch import Setup, launch
from xcnn.prototypes import EncoderExplanation
from xcnn.report import Cell, Measured, PaperNumber, Row, Summary
from xcnn.report.tables import Record
from xcnn.report.verdicts import Verdict


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    wanted = candidates(setup.data, options.figure.picture, options.figure.label)  # before anything is trained
    needed = [*options.figure.methods, *(["b34"] if "b234" in options.figure.methods else [])]
    found = {name: setup.variant(f"prototypes={name}").prototyped() for name in needed}
    shown = {name: _explanation(found[name]) for name in options.figure.methods}
    if "b234" in shown:
        shown["b234"].through(_explanation(found["b34"]))
    subject = next(iter(found.values()))
    place = wanted[0] if options.figure.picture is not None else first_right(wanted, subject, list(shown.values()))
    interpreted = {name: interpret(subject, method, name, place) for name, method in shown.items()}
    values = {f"{kind}/{name}": value for name, each in interpreted.items() for kind, value in each.values.items()}
    label = subject.data.classes[int(subject.data.test.labels[place])]
    picture = subject.data.pictures.ids[place]
    file = f"figure1-{options.dataset}-{options.network}.png"
    panels = [each.panel for each in interpreted.values()]
    sheet = interpretation_sheet(panels, f"{label} ({picture})", options.figure.shown)
    save_png(sheet, cell.folder / file)
    methods = {name: each.facts for name, each in interpreted.items()}
    details = {"image": picture, "label": label, "methods": methods}
    return subject.measured(values, 1, details=details, files=[file])


def _explanation(subject: Subject) -> EncoderExplanation:
    if not isinstance(subject.method, EncoderExplanation):
        raise UserError("figure 1 shows locations: figure.methods takes b4, b34, b234 and others of their kind.")
    return subject.method


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    """Reproduced, if on birds B234 cuts the image into more segments than B4."""
    records = [record for row in rows for record in row.records]
    birds = [record for record in records if record["dataset"] in ("cub200", *STANDS_IN["cub200"])]
    finer = all(record["values"]["segments/b234"] > record["values"]["segments/b4"] for record in birds)
    ruling: Verdict = "reproduced" if finer else "not reproduced"
    return Summary(
        "Post-hoc self-explanation, figure 1: interpretation sheets",
        verdict=ruling if birds else "not comparable" if records else "not run",
        facts={"sheets": [sheet_facts(record) for record in records], "birds": birds},
    )


def sheet_facts(record: Record) -> dict[str, Any]:
    """What the page says of a sheet; `uniform` where all prototypes have the same importance."""
    figure, methods = record["settings"]["figure"], record["details"]["methods"]
    every = [part["attribution"] for found in methods.values() for part in found["prototypes"]]
    shown = [{"name": name, **methods[name]} for name in figure["methods"]]
    return {"record": record, "methods": shown, "shown": figure["shown"], "uniform": len(set(every)) == 1 < len(every)}


if __name__ == "__main__":
    launch(__file__, measure, summarise)
