"""Post-hoc self-explanation, theorem 1: a network's logits are the average over locations of h_r . c_j.

Paper:      Boubekki & Clemmensen 2026, theorem 1 and section 3.1.
Command:    make self-explanation-theorem1
Reports:    the identity, proved; and of preliminary experiments, without numbers, that several columns for each class,
            merged by max or average pooling, end with a single direction dominating each class.
Cost:       on one busy CPU core two to three minutes a network for 100 images in float32 and float64, then nine cells
            of half a minute to a minute; on the embedded data the trainings of `make self-explanation-table2` (shared),
            then seconds a cell.
Deviations: biases, which the paper omits, are kept: they are added after the average. The preliminary experiments are
            not described: here the encoder is frozen (ImageNet weights, Imagenette at 96 px), and only the columns are
            trained, five for each class. How far one of them dominates is measured against k-means' centroids. The
            ImageNet weights at hand are quantised, with BatchNorm folded in.
"""

from collections.abc import Sequence

from xcnn.evaluation.columns import own_columns, several_columns
from xcnn.launch import Setup, launch
from xcnn.report import Cell, Claim, Column, Measured, PaperNumber, Row, Summary, claim, claim_within

ROUNDING = 1e-12  # of the largest logit: what float64 may lose


def measure(setup: Setup, cell: Cell) -> Measured:
    options, subject = setup.options, setup.explained()
    if options.columns == "own":
        return own_columns(cell, subject, options.cam_layer, options.chunk)
    return several_columns(
        subject, options.cam_layer, options.columns, options.per_class, **options.fit, seed=options.seed
    )


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    own = [row for row in rows if row.method == "columns_own"]
    several = [row for row in rows if row.method != "columns_own"]
    holds = all(row.mean["error/float64"] <= ROUNDING * row.mean["largest"] for row in own)
    datasets = list(dict.fromkeys(row.dataset for row in several))
    return Summary(
        "Post-hoc self-explanation, theorem 1: logits as an average over locations",
        columns=[
            Column("error/float64", "error, float64", 16),
            Column("locations", "locations, %", 1),
            Column("dominance", "dominance, %", 1),
            Column("first_direction", "first direction, %", 1),
            Column("train", "train %", 1),
        ],
        claims=[
            *(
                claim(rows, "dominance", "columns_max", "columns_k_means", "higher", dataset, counts=False)
                for dataset in datasets
            ),
            *(by_training(row) for row in several if row.method == "columns_average"),
        ],
        verdict="not run" if not own else "reproduced" if holds else "not reproduced",
        facts={"own": own, "several": several, "datasets": datasets, "claim_digits": 1},
    )


def by_training(row: Row) -> Claim:
    """That training brings a class's columns, merged by average, into one direction: after it less before it."""
    metric, method = "first_direction", row.method
    return claim_within(row, metric, (method, metric), (method, f"{metric}/start"), "higher", counts=False)


if __name__ == "__main__":
    launch(__file__, measure, summarise)
