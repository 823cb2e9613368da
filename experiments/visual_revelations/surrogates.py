"""Clear methods, interpretable models: how far do trees, rules and sparse linear models decide as the network does?

Paper:      Abbas 2024, "Interpretable Models" and "Hybrid Approaches".
Command:    make visual-revelations-surrogates
Reports:    no number; that such models "offer inherent interpretability", and beside a deep one "a balanced trade-off
            between accuracy and interpretability".
Cost:       trainings of minutes (those of Imagenette are shared with `make self-explanation-table2`); what surrogates
            see is computed once for each network, then seconds to a minute a cell on a CPU core; 2 GB.
Deviations: the paper describes no model. Surrogates are scikit-learn's, fitted to the network's decisions on at most
            10,000 training images, and judged on test images.
"""

from collections.abc import Sequence

from matplotlib.figure import Figure

from xcnn.evaluation.surrogates import measure_surrogate, seen
from xcnn.figures import AccuracySeries, tradeoff_plot
from xcnn.launch import Setup, launch
from xcnn.launch.titles import titled
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary, by_network, claim_within

CONTROLS = ("majority", "shuffled", "head")


def measure(setup: Setup, cell: Cell) -> Measured:
    options, subject = setup.options, setup.prototyped()
    view = setup.view(subject)
    of_prototypes = options.sees == "prototypes" and setup.settings["prototypes"]
    described = {"view": setup.settings["view"], "prototypes": of_prototypes}
    parts = seen(subject, view, described, setup.kept_features, options.fit_size, options.seed)
    sizes = options.grows, options.sizes, options.size, options.shown
    values, details = measure_surrogate(setup.surrogate(), *sizes, options.seed)(parts, view, subject.classes)
    return subject.measured(values, len(parts["test"].labels), details=details)


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    kinds = dict.fromkeys(row.method.rpartition("-")[0] for row in rows)
    drawings = {f"surrogates-{kind}.png": curves(rows, kind) for kind in kinds}
    claims = [
        claim_within(row, "fidelity", (row.method, "fidelity"), (control, f"fidelity/{control}"), "higher", "share")
        for row in rows
        if row.method.endswith("-features")
        for control in CONTROLS[:2]
    ]
    columns = [Column("fidelity", "fidelity"), Column("accuracy", "accuracy"), Column("size", "size", 1)]
    columns += [Column(f"fidelity/{name}", f"fidelity, {name}") for name in CONTROLS]
    columns += [Column("accuracy/network", "network's accuracy"), Column("seconds", "fit, s", 1)]
    return Summary(
        "Clear methods and visual revelations: interpretable models beside the network",
        columns,
        drawings,
        claims=claims,
        facts={
            "datasets": by_network(rows),
            "files": list(drawings),
            "printed": [row for row in rows if row.dataset == rows[0].dataset and not row.method.startswith("sparse")],
        },
    )


def curves(rows: Sequence[Row], kind: str) -> Figure:
    """Fidelity of one kind over its size, by data set and by what it sees."""
    series, rows = [], [row for row in rows if row.method.startswith(f"{kind}-")]
    for row in rows:
        points = sorted(
            (max(row.mean[f"size/{i}"], 1), 100 * row.mean[f"fidelity/{i}"], 100 * row.std[f"fidelity/{i}"])
            for i in range(len(row.details["option"]["sizes"]))
        )
        series.append(
            AccuracySeries.tested(titled(row.dataset), row.method.rpartition("-")[2], *zip(*points, strict=True))
        )
    majority = {titled(row.dataset): {"majority class": 100 * row.mean["fidelity/majority"]} for row in rows}
    unit = f"{rows[0].details['unit']}, mean over seeds"
    return tradeoff_plot(series, unit, "fidelity, %", log=True, references=majority, parts=False)


if __name__ == "__main__":
    launch(__file__, measure, summarise)
