"""Clear methods, hybrid approaches: a network distilled into a soft decision tree that can be drawn.

Paper:      Abbas 2024, "Hybrid Approaches" (model distillation); the tree is that of Frosst & Hinton 2017.
Command:    make visual-revelations-soft-tree
Reports:    no number; that distillation gives "both high-performance predictions and human-understandable
            explanations". Known of MNIST at depth 8: 94.45 % on labels, 96.76 % distilled from a network of 99.21 %.
Cost:       on the embedded data the trainings of `make self-explanation-table2`, then 20 epochs of seconds a cell; on
            MNIST, on a CPU core, 15 minutes for a network, 5 for a tree.
Deviations: the loss is the one that Frosst & Hinton describe; what they print as eq. 5 is the logarithm of a negative
            number. Their optimiser, epochs and sharpness are not stated: Adam, as configured here. Known numbers are
            theirs, as the paper has none; the verdict is on its claim alone.
"""

from collections.abc import Sequence

from xcnn.evaluation.soft_tree import draw_soft_tree, soft_tree_values
from xcnn.evaluation.subject import networks
from xcnn.launch import Setup, launch
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary, claim


def measure(setup: Setup, cell: Cell) -> Measured:
    options, figure = setup.options, setup.options.figure
    tree, teacher = setup.soft_tree()
    assert tree.training is not None
    values = soft_tree_values(tree, teacher)
    values["seconds"] = tree.training["wall_s"] / tree.training["epochs"]
    name = f"soft_tree-{options.dataset}-{options.soft_tree.labels}-s{options.seed}"
    files = draw_soft_tree(tree, figure.levels, figure.image, cell.folder, name) if options.seed == 0 else []
    details = {
        "depth": options.soft_tree.depth,
        "image": figure.image,
        "levels": figure.levels,
        "networks": networks(network=teacher),
    }
    return tree.measured(values, files=files, details=details)


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    claims = [
        claim(rows, "accuracy", row.method, "soft_tree-hard", "higher", row.dataset, unit="%")
        for row in rows
        if row.method != "soft_tree-hard"
    ]
    return Summary(
        "Clear methods and visual revelations: a soft decision tree",
        columns=[
            Column("accuracy", "test %", 2),
            Column("accuracy/averaged", "all leaves, %", 2),
            Column("accuracy/train", "train %", 2),
            Column("fidelity", "agrees with the network, %", 2),
            Column("accuracy/network", "network, test %", 2),
            Column("leaves", "leaves in use", 0),
            Column("certain", "probability of the path", 2),
            Column("seconds", "s an epoch", 1),
        ],
        claims=claims,
        counts=lambda comparison: False,  # of another paper's table
        verdict=None if any(each.verdict != "not run" for each in claims) else "not run",
        facts={"claim_digits": 2},
    )


if __name__ == "__main__":
    launch(__file__, measure, summarise)
