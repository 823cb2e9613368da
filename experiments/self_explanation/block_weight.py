"""Post-hoc self-explanation: does the weight 1/D_b of eq. 8 explain the fall of B234?

Paper:      Boubekki & Clemmensen 2026, eq. 8 and table 2: B234 falls from 75.2 (B4) to 52.8 % on CUB-200.
Command:    make self-explanation-block-weight
Reports:    nothing; the ablation is ours.
Cost:       the trainings and most prototypes of `make self-explanation-table2` (shared), then one to eight minutes a
            cell on a CPU core, 3 GB.
Deviations: dividing the normalised blocks by D_b gives blocks 2, 3 and 4 of ResNet 76, 19 and 5 % of the squared norm:
            the shallow block decides. 1/sqrt(D_b) gives 57, 29, 14 %, and 1 a third to each.
"""

from collections.abc import Sequence

from experiments.self_explanation.networks import networks_of
from experiments.self_explanation.weights import SUFFIXES, TITLES, compared, over_weights
from xcnn.evaluation.predictions import accuracies, prediction_rows
from xcnn.evaluation.prototypes import block_shares
from xcnn.figures import tradeoff_plot
from xcnn.launch import Setup, launch
from xcnn.prototypes import EncoderExplanation
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary, claim


def measure(setup: Setup, cell: Cell) -> Measured:
    subject = setup.prototyped()
    method = subject.method
    assert isinstance(method, EncoderExplanation)
    values = accuracies(prediction_rows(cell, subject, setup.options.chunk))
    shares = block_shares(method, subject.data.test.images[:1].to(subject.device))
    return subject.measured(values | shares, len(subject.data.test))


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    blocks = sorted({metric for row in rows for metric in row.mean if metric.startswith("share/")})
    networks = [network for network in networks_of(rows) if {"b4", "b234"} <= network.methods.keys()]
    cases = [compared(network, deep) for network in networks for deep in ("b34", "b234") if deep in network.methods]
    claims = [
        claim(list(network.methods.values()), "test", "b234", "b4", "lower", unit="%")
        for network in networks
        if network.fits("b4")
    ]
    shares = [network.methods["b234"].mean.get(block, 0.0) for network in networks for block in blocks]
    file, series = "block_weight-accuracy.png", [over_weights(case) for case in cases]
    references = {network.label: {TITLES["b4"]: network.mean("b4", "test")} for network in networks}
    plot = tradeoff_plot(series, "weight of a block", "accuracy, %", references=references) if series else None
    facts = {"cases": cases, "shallow": max(shares, default=0.0), "file": file, "weights": list(SUFFIXES)}
    return Summary(
        "Post-hoc self-explanation: the weight of the blocks",
        columns=[
            Column("train", "train %", 1),
            Column("test", "test %", 1),
            Column("tied/test", "ties, test %", 1),
            *(Column(block, f"squared norm of {block.removeprefix('share/')}, %", 0) for block in blocks),
        ],
        drawings={file: plot} if plot else {},
        claims=claims,
        verdict=None if claims else "not comparable",
        facts=facts | {"claim_digits": 1},
    )


if __name__ == "__main__":
    launch(__file__, measure, summarise)
