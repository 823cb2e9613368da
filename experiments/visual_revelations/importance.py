"""Clear methods, global interpretability: which ranking of filters says whose removal costs accuracy?

Paper:      Abbas 2024, "Global Interpretability" (feature importance ranking); the score is DeConvolve's algorithm 1.
Command:    make visual-revelations-importance
Reports:    no number; that importance rankings show "which features have the greatest influence".
Cost:       the trainings of `make self-explanation-table2` (shared); then seconds to half a core-minute a cell on the
            embedded data, three times as much on CIFAR-10.
Deviations: the paper describes no method. Filters are ranked on training images and removed, all at once, on test
            images; removal sets maps to zero.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from xcnn.evaluation.importance import measure_importance
from xcnn.figures import AccuracySeries, tradeoff_plot
from xcnn.launch import Setup, launch
from xcnn.launch.titles import titled
from xcnn.report import Cell, Measured, PaperNumber, Row, Summary, claim
from xcnn.report.verdicts import over_seeds

TITLES = {
    "permutation": "permutation importance",
    "ablation": "ablation",
    "score": "algorithm 1's score",
    "random": "random order",
}


def measure(setup: Setup, cell: Cell) -> Measured:
    options, chosen = setup.options, setup.options.importance
    subject = setup.explained()
    values, details = measure_importance(
        cell, subject, chosen.layer, chosen.ranking, chosen.images, list(chosen.counts), chosen.orders,
        options.seed, options.chunk,
    )  # fmt: skip
    return subject.measured(values, details=details)


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    places = list(dict.fromkeys((row.dataset, row.model, layer(row)) for row in rows))
    chosen = {place: [row for row in rows if (row.dataset, row.model, layer(row)) == place] for place in places}
    claims = [
        claim(own, "lost", row.method, f"random-{place[2]}", "higher", place[0], place[1], "share")
        for place, own in chosen.items()
        for row in own
        if not row.method.startswith("random")
    ]
    return Summary(
        "Clear methods and visual revelations: global importance of filters",
        drawings={
            "importance-removal.png": tradeoff_plot(
                [series(row) for row in rows], "filters removed", "test accuracy, %", log=True, parts=False
            )
        },
        claims=claims,
        facts={
            "places": [{"place": place, "rows": own, "agreement": agreement(own)} for place, own in chosen.items()],
            "claim_digits": 3,
        },
    )


def layer(row: Row) -> str:
    return row.method.split("-", 1)[1]


def series(row: Row) -> AccuracySeries:
    counts = row.records[0]["details"]["counts"]
    nothing = [float("nan")] * len(counts)
    mean, std = ([100 * part[f"accuracy/{count}"] for count in counts] for part in (row.mean, row.std))
    heading = f"{titled(row.dataset)}, {layer(row)}"
    return AccuracySeries(
        heading, TITLES[row.method.split("-")[0]], [float(count) for count in counts], nothing, mean, nothing, std
    )


def agreement(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Kendall's tau of each two rankings of the same filters, seed by seed, with an interval over seeds."""
    found = []
    for one, other in combinations(rows, 2):
        by_seed = {record["seed"]: record["details"]["importance"] for record in other.records}
        taus = [
            float(kendalltau(record["details"]["importance"], by_seed[record["seed"]]).statistic)
            for record in one.records
            if record["seed"] in by_seed
        ]
        interval = over_seeds(taus) if len(taus) > 1 else None
        found.append({"one": one, "other": other, "tau": float(np.mean(taus)) if taus else None, "interval": interval})
    return found


if __name__ == "__main__":
    launch(__file__, measure, summarise)
