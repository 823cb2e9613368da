"""Post-hoc self-explanation, table 1: do prototypes point where the data lie?

Paper:      Boubekki & Clemmensen 2026, table 1 (called table 2 in its text) and section 4.
Command:    make self-explanation-table1
Reports:    cosine with the class's and with other embeddings; on MNIST 0.48 / -0.05 (the CNN's columns), 0.88 / 0.32
            (KMEx, K/C = 1), 0.83 / 0.30 (5), 1.00 / 1.00 (ProtoPNet).
Cost:       the trainings of `make self-explanation-table2` (shared), then one to three minutes a cell on a CPU
            core, 2 GB.
Deviations: as table 2. The printed numbers fit no single definition, so several are measured: over all pairs (main), or
            with the nearest prototype; on training (main) or test images. ProtoPNet's prototypes live in the space of
            its add-on layers: they are compared with the average of an image's patches there.
"""

from collections.abc import Sequence
from dataclasses import asdict

import torch

from experiments.self_explanation.networks import in_columns, networks_of, of_column
from xcnn.evaluation.prototypes import embeddings, prototypes_of
from xcnn.launch import Setup, launch
from xcnn.prototypes import alignment
from xcnn.report import Cell, Claim, Column, Measured, PaperNumber, Row, Summary, claim, claim_within

NAMES = {"within": "class", "out": "out", "nearest_within": "nearest_class", "nearest_out": "nearest_out"}
PAPERS = ("cnn", "kmex_1", "kmex", "protopnet")  # methods of the paper's table


def measure(setup: Setup, cell: Cell) -> Measured:
    subject = setup.prototyped()
    prototypes, class_of = prototypes_of(subject)
    values: dict[str, float] = {}
    for suffix, part in (("", subject.data.train), ("/test", subject.data.test)):
        found = alignment(prototypes, class_of, embeddings(subject, part.images), part.labels.to(prototypes.device))
        values |= {NAMES[name] + suffix: value for name, value in asdict(found).items()}
    norms = torch.linalg.vector_norm(prototypes, dim=1)
    details = {"prototypes": len(prototypes), "channels": prototypes.shape[1], "norm": round(float(norms.mean()), 4)}
    return subject.measured(values, len(subject.data.train), details=details)


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    networks = networks_of(rows)
    columns = in_columns(networks)
    own = [network for network in columns.values() if network and not network.stands_in]
    counted = [row for network in own for row in network.methods.values()]
    claims: list[Claim] = []
    for network in networks:
        chosen, place = list(network.methods.values()), (network.dataset, network.model)
        counts = any(network.dataset == each.dataset for each in own)
        if {"cnn", "kmex_1"} <= network.methods.keys():
            claims.append(claim(chosen, "class", "cnn", "kmex_1", "lower", *place, counts=counts))
    for column in columns.values():
        if column and "protopnet" in column.methods:
            numbers = [each for each in of_column(paper, column) if each.row == "protopnet"]
            claims.append(uniform(column.methods["protopnet"], numbers, counts=not column.stands_in))
    return Summary(
        "Post-hoc self-explanation, table 1: alignment of the prototypes",
        columns=[
            *(Column(name, f"{name.replace('_', ' ')}, train", 2) for name in NAMES.values()),
            *(Column(f"{name}/test", f"{name.replace('_', ' ')}, test", 2) for name in NAMES.values()),
        ],
        claims=claims,
        comparable=bool(own),
        counts=lambda comparison: any(comparison.row is row for row in counted),
        facts={"networks": networks, "columns": columns, "own": own, "methods": PAPERS},
    )


def uniform(row: Row, paper: Sequence[PaperNumber], counts: bool) -> Claim:
    """That a method's cosines are alike within and out of the class: their difference, seed by seed."""
    within, out = (next(number for number in paper if number.metric == metric) for metric in ("class", "out"))
    return claim_within(row, "uniform", (row.method, "class"), (row.method, "out"), (within, out), counts=counts)


if __name__ == "__main__":
    launch(__file__, measure, summarise)
