"""Clear methods, interpretable models: how far do trees, rules and sparse linear models decide as the network does?

Paper:      Abbas 2024, "Interpretable Models" and "Hybrid Approaches".
Command:    make visual-revelations-surrogates
Reports:    no number; that such models "offer inherent interpretability", and beside a deep one "a balanced trade-off
            between accuracy and interpretability".
Cost:       the trainings of `make self-explanation-table2` (shared); what the surrogates see is computed once for each
            network, then seconds to a minute a cell on a CPU core; 2 GB.
Deviations: the paper describes no model. Surrogates are scikit-learn's, fitted to the network's decisions on at most
            10,000 training images, and judged on test images.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from xcnn.evaluation.surrogates import measure_surrogate, seen
from xcnn.figures import AccuracySeries, tradeoff_plot
from xcnn.launch import Setup, launch
from xcnn.report import Cell, Claim, Column, Measured, PaperNumber, Row, Summary

KINDS = {"tree": "leaves", "rules": "rules", "sparse": "weights"}
CONTROLS = ("majority", "shuffled", "head")


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    subject = setup.prototyped()
    view = setup.view(subject)
    described = {
        "view": setup.settings["view"],
        "prototypes": options.sees == "prototypes" and setup.settings["prototypes"],
    }
    parts = seen(subject, view, described, Path(options.paths.runs) / "features", options.fit_size, options.seed)
    kind = measure_surrogate(setup.surrogate(), options.grows, options.sizes, options.size, options.shown, options.seed)
    values, details = kind(parts, view, subject.classes)
    return subject.measured(values, len(parts["test"].labels), details=details)


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    drawings, claims = {}, []
    for kind, unit in KINDS.items():
        chosen = [row for row in rows if row.method.startswith(f"{kind}-") and row.method.split("-")[1]]
        if chosen:
            drawings[f"surrogates-{kind}.png"] = tradeoff_plot(
                [series(row) for row in chosen],
                f"{unit}, mean over seeds",
                "fidelity, %",
                log=True,
                references=_networks(chosen),
            )
    for row in rows:
        if row.method.endswith("-features"):
            claims += [over(row, control) for control in ("majority", "shuffled")]
    return Summary(
        "Clear methods and visual revelations: interpretable models beside the network",
        columns=[
            Column("fidelity", "fidelity"),
            Column("accuracy", "accuracy"),
            Column("size", "size", 1),
            *(Column(f"fidelity/{name}", f"fidelity, {name}") for name in CONTROLS),
            Column("accuracy/network", "network's accuracy"),
            Column("seconds", "fit, s", 1),
        ],
        drawings=drawings,
        claims=claims,
        facts={
            "datasets": by_network(rows),
            "kinds": KINDS,
            "files": list(drawings),
            "controls": CONTROLS,
            "printed": [row for row in rows if row.dataset == rows[0].dataset and not row.method.startswith("sparse")],
        },
    )


def by_network(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """Rows of each data set and network."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.dataset, row.model), []).append(row)
    return found


def series(row: Row) -> AccuracySeries:
    """Fidelity on test images over size, of the curve."""
    places = range(len(row.records[0]["details"]["option"]["sizes"]))
    points = sorted(
        (row.mean[f"size/{i}"], 100 * row.mean[f"fidelity/{i}"], 100 * row.std[f"fidelity/{i}"]) for i in places
    )
    nothing = [float("nan")] * len(points)
    return AccuracySeries(
        row.dataset,
        row.method.split("-")[1],
        [max(point[0], 1) for point in points],
        nothing,
        [point[1] for point in points],
        nothing,
        [point[2] for point in points],
    )


def _networks(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    return {row.dataset: {"majority class": 100 * row.mean["fidelity/majority"]} for row in rows}


def over(row: Row, control: str) -> Claim:
    """That a surrogate is more faithful than a control: its fidelity less the control's, seed by seed."""
    metric = f"fidelity/{control}"
    records = [{**each, "values": {"fidelity": each["values"][metric]}} for each in row.records]
    other = replace(row, method=control, mean={"fidelity": row.mean[metric]}, records=records)
    return Claim("fidelity", (row.method, control), (row, other), "higher", "share")


if __name__ == "__main__":
    launch(__file__, measure, summarise)
