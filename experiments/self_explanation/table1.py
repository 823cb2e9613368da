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

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import torch

from xcnn.evaluation.prototypes import by_network, embeddings, prototypes_of
from xcnn.launch import Setup, launch
from xcnn.prototypes import alignment
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary

NAMES = {"within": "class", "out": "out", "nearest_within": "nearest_class", "nearest_out": "nearest_out"}


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
    columns = [
        *(Column(name, f"{name.replace('_', ' ')}, train", 2) for name in NAMES.values()),
        *(Column(f"{name}/test", f"{name.replace('_', ' ')}, test", 2) for name in NAMES.values()),
    ]
    text = [
        "Mean cosine of a class's prototypes with the embeddings of that class (class) and of all others (out), over "
        "all pairs, and with the nearest of the class's prototypes only (nearest). Every class counts alike.",
        *(_answer(*name, methods) for name, methods in by_network(rows).items() if {"cnn", "kmex_1"} <= methods.keys()),
    ]
    return Summary("Post-hoc self-explanation, table 1: alignment of the prototypes", "\n\n".join(text), columns)


def _answer(dataset: str, model: str, methods: Mapping[str, Row]) -> str:
    cnn, mean = methods["cnn"].mean, methods["kmex_1"].mean
    apart = cnn["class"] - cnn["out"], mean["class"] - mean["out"]
    name = methods["cnn"].records[0]["data"]["name"]
    return (
        f"**{name}, {model}.** Are the classifier's columns poor prototypes? Their "
        f"cosine with their class's embeddings is {cnn['class']:.2f} ({cnn['class/test']:.2f} on test images), that of "
        f"the class means {mean['class']:.2f} ({mean['class/test']:.2f}). Class less out, by which classes are told "
        f"apart, is {apart[0]:.2f} against {apart[1]:.2f}: "
        + (
            "the columns are made to separate, not to represent."
            if apart[0] > apart[1]
            else "neither do they separate better."
        )
    )


if __name__ == "__main__":
    launch(__file__, measure, summarise)
