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

from xcnn.evaluation.importance import agreement, measure_importance
from xcnn.figures import AccuracySeries, tradeoff_plot
from xcnn.launch import Setup, launch
from xcnn.launch.titles import titled
from xcnn.report import Cell, Measured, PaperNumber, Row, Summary, claim

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
    places: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        places.setdefault((row.dataset, row.model, layer(row)), []).append(row)
    claims = [
        claim(own, "lost", row.method, f"random-{place[2]}", "higher", place[0], place[1], "share")
        for place, own in places.items()
        for row in own
        if not row.method.startswith("random")
    ]
    labels = ("filters removed", "test accuracy, %")
    drawings = {
        "importance-removal.png": tradeoff_plot([over_counts(row) for row in rows], *labels, log=True, parts=False)
    }
    found = [
        {"place": place, "rows": own, "agreement": [agreement(*pair) for pair in combinations(own, 2)]}
        for place, own in places.items()
    ]
    title = "Clear methods and visual revelations: global importance of filters"
    return Summary(title, drawings=drawings, claims=claims, facts={"places": found, "claim_digits": 3})


def layer(row: Row) -> str:
    return row.method.split("-", 1)[1]


def over_counts(row: Row) -> AccuracySeries:
    """Accuracy, in %, without so many of the first filters of a ranking."""
    counts = row.details["counts"]
    mean, std = ([100 * part[f"accuracy/{count}"] for count in counts] for part in (row.mean, row.std))
    heading, ranking = f"{titled(row.dataset)}, {layer(row)}", TITLES[row.method.split("-")[0]]
    return AccuracySeries.tested(heading, ranking, list(map(float, counts)), mean, std)


if __name__ == "__main__":
    launch(__file__, measure, summarise)
