"""Post-hoc self-explanation: what k-means costs, and how many training images the prototypes need.

Paper:      Boubekki & Clemmensen 2026, section 6: k-means is the method's limitation; in preliminary results
            "performance remains stable on subsets of the training data".
Command:    make self-explanation-scalability
Reports:    no number. Aimed at: from the same start 4 times faster than scikit-learn's Lloyd; with its own seeding 20
            times faster than scikit-learn's 10 tries, at no more than 1.003 times its inertia.
Cost:       k-means against its peers: 2 minutes on 2 CPU cores (float32) that do nothing else, 3 GB. Subsets: a
            training of `make self-explanation-table2` (shared), then 12 cells of 10 seconds to three minutes; on the
            embedded data 40 of seconds.
Deviations: the rows of the comparison are drawn, about as many and as wide as those of a class at blocks 2 to 4 of a
            ResNet-34. faiss has no tolerance: from the same start it makes as many iterations as ours, with its own
            (random) seeding 25. Subsets are drawn by the seed, the same share of each class.
"""

from collections.abc import Sequence

from experiments.self_explanation.peers import OURS, PEERS, WAYS, compared
from experiments.self_explanation.subsets import SMALL, STABLE, by_method, over_shares, ruling, series
from xcnn.evaluation.predictions import accuracies, prediction_rows
from xcnn.evaluation.prototypes import training_share
from xcnn.figures import tradeoff_plot
from xcnn.launch import Setup, launch
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary


def measure(setup: Setup, cell: Cell) -> Measured:
    return compared(setup) if "drawn" in setup.options else fitted_on_a_share(setup, cell)


def fitted_on_a_share(setup: Setup, cell: Cell) -> Measured:
    """Test accuracy with prototypes of a share of the training images."""
    options = setup.options
    subject = setup.prototyped()
    values = accuracies(prediction_rows(cell, subject, options.chunk, ["test"]))
    share = 1 if options.fit_share is None else options.fit_share
    details = {"fitted_on": len(training_share(subject.data, setup.fit_share, options.seed)), "share": share}
    return subject.measured(values, len(subject.data.test), details=details)


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    shares = [row for row in rows if row.dataset != "drawn"]
    subsets = [over_shares(found) for found in by_method(shares).values() if 1 in found]
    file = "scalability-shares.png"
    labels = ("share of the training images", "test accuracy, %")
    drawn_over = tradeoff_plot(series(shares), *labels, log=True, parts=False) if shares else None
    return Summary(
        "Post-hoc self-explanation: the cost of k-means, and subsets of the training images",
        columns=[
            *(
                Column(f"faster/{way}/scikit_learn", f"scikit-learn's / our time, {said}", 1)
                for way, said in WAYS.items()
            ),
            Column("worse/seeded/scikit_learn", "scikit-learn's / our inertia", 4),
            Column("test", "test %", 1),
        ],
        drawings={file: drawn_over} if drawn_over else {},
        verdict=ruling(subsets),
        facts={
            "peers": [row.records[0] for row in rows if row.dataset == "drawn"],
            "ways": WAYS,
            "packages": {OURS: "", **PEERS},
            "subsets": subsets,
            "shares": sorted({share for each in subsets for share in each["rows"]}, reverse=True),
            "stable": STABLE,
            "small": SMALL,
            "file": file,
        },
    )


if __name__ == "__main__":
    launch(__file__, measure, summarise)
