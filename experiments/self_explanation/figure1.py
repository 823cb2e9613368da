"""Post-hoc self-explanation, figure 1: the interpretation sheet of an image, by B4 and by B234.

Paper:      Boubekki & Clemmensen 2026, figure 1 and section 3.3.
Command:    make self-explanation-figure1
Reports:    pictures of one woodpecker of CUB-200.
Cost:       the trainings and prototypes of `make self-explanation-table2` (shared), then a minute a cell on a CPU.
Deviations: other data (table 2). The paper does not say how it chose its image: the first test image of a class that
            the network and both explanations get right, or any by `figure.picture=<id>`.
"""

from collections.abc import Sequence

import torch

from experiments.self_explanation.networks import STANDS_IN
from xcnn.errors import UserError
from xcnn.evaluation.interpretation import interpret
from xcnn.evaluation.subject import Subject
from xcnn.figures import interpretation_sheet, save_png
from xcnn.launch import Setup, launch
from xcnn.prototypes import EncoderExplained, EncoderExplanation
from xcnn.report import Cell, Measured, PaperNumber, Row, Summary


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    wanted = _wanted(setup)  # before anything is trained
    needed = [*options.figure.methods, *(["b34"] if "b234" in options.figure.methods else [])]
    found = {name: setup.variant(f"prototypes={name}").prototyped() for name in needed}
    shown = {name: _explanation(found[name]) for name in options.figure.methods}
    if "b234" in shown:
        shown["b234"].through(_explanation(found["b34"]))
    subject = next(iter(found.values()))
    place = wanted[0] if options.figure.picture is not None else _first_right(wanted, subject, shown)
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


def _wanted(setup: Setup) -> Sequence[int]:
    """Places among the test images of those that may be shown."""
    options = setup.options
    data = setup.data
    if options.figure.picture is not None:
        if options.figure.picture not in data.pictures.ids:
            raise UserError(
                f"{data.name} has no test image {options.figure.picture!r}; they are {data.pictures.ids[0]} to "
                f"{data.pictures.ids[-1]}."
            )
        return [data.pictures.ids.index(options.figure.picture)]
    if options.figure.label not in (None, *data.classes):
        raise UserError(f"{data.name} has no class {options.figure.label!r}; there are: {', '.join(data.classes)}.")
    if options.figure.label is None:
        return range(len(data.test))
    places: list[int] = (data.test.labels == data.classes.index(options.figure.label)).nonzero()[:, 0].tolist()
    return places


def _first_right(wanted: Sequence[int], subject: Subject, methods: dict[str, EncoderExplanation]) -> int:
    """The first of these test images that the network and all methods get right."""
    data = subject.data
    for place in wanted:
        with subject.autocast():
            said = [method.explain(data.test.images[place : place + 1]) for method in methods.values()]
        if all(_right(one, int(data.test.labels[place])) for one in said):
            return place
    raise UserError("there is no such test image that the network and all methods get right: name one by its id.")


def _right(said: EncoderExplained, label: int) -> bool:
    return bool(torch.stack([said.predicted, said.logits.argmax(1)]).eq(label).all())


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    records = [record for row in rows for record in row.records]
    birds = [record for record in records if record["dataset"] in ("cub200", *STANDS_IN["cub200"])]
    finer = all(record["values"]["segments/b234"] > record["values"]["segments/b4"] for record in birds)
    sheets = []
    for record in records:
        figure, methods = record["settings"]["figure"], record["details"]["methods"]
        every = [part["attribution"] for found in methods.values() for part in found["prototypes"]]
        sheets.append(
            {
                "record": record,
                "methods": [{"name": name, **methods[name]} for name in figure["methods"]],
                "shown": figure["shown"],
                "uniform": len(set(every)) == 1 < len(every),
            }
        )
    return Summary(
        "Post-hoc self-explanation, figure 1: interpretation sheets",
        verdict="not run"
        if not records
        else "not comparable"
        if not birds
        else "reproduced"
        if finer
        else "not reproduced",
        facts={"sheets": sheets, "birds": birds},
    )


if __name__ == "__main__":
    launch(__file__, measure, summarise)
