"""Embeddings of some classes with the prototypes among them (figure 2)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from xcnn.data.tensors import TensorDataModule, drawn
from xcnn.errors import UserError
from xcnn.evaluation.prototypes import embeddings, prototypes_of
from xcnn.evaluation.subject import Subject
from xcnn.figures import EmbeddingPanel, Marks
from xcnn.metrics.embedding import plane

Labelled = tuple[Tensor, Tensor]  # points (n, D), and the place of each point's class among the chosen (n,)

PANELS = {
    "the classifier's columns": {"columns": "x", "columns, rescaled": "^"},
    "KMEx's prototypes": {"KMEx": "s"},
}


def class_places(data: TensorDataModule, names: Sequence[str] | None) -> Tensor:
    """Places of the named classes, rising; None for all.

    Raises:
        UserError: the data set has no such class (names those there are).
    """
    wanted = data.classes if names is None else names
    if unknown := [name for name in wanted if name not in data.classes]:
        raise UserError(f"{data.name} has no class {unknown[0]!r}; there are: {', '.join(data.classes)}.")
    return torch.tensor(sorted(map(data.classes.index, wanted)))


def group_embeddings(subject: Subject, chosen: Tensor, train_size: int | None, seed: int) -> dict[str, Labelled]:
    """Embeddings of the `train` and `test` images of the chosen classes (C,).

    Args:
        train_size: number of training images to draw; None, or fewer images than that, for all.
        seed: random seed of what is drawn.
    """
    parts = {}
    for name, part in (("train", subject.data.train), ("test", subject.data.test)):
        own = part.subset(torch.isin(part.labels, chosen).nonzero()[:, 0])
        if name == "train" and len(own) > (train_size or len(own)):
            own = drawn(own, train_size, seed, "figure.train_size")
        parts[name] = (embeddings(subject, own.images).float().cpu(), torch.searchsorted(chosen, own.labels))
    return parts


def class_marks(network: Subject, kmex: Subject, chosen: Tensor, z: Tensor, labels: Tensor) -> dict[str, Labelled]:
    """Prototypes of the chosen classes: the columns, the columns with their class's mean norm, and those of KMEx.

    Args:
        network, kmex: the same network, with its own columns and with KMEx's prototypes.
        z, labels: training embeddings (n, D), and the place of each one's class among the chosen.
    """
    columns = prototypes_of(network)[0].float().cpu()[chosen]
    norms = torch.stack([torch.linalg.vector_norm(z[labels == j], dim=1).mean() for j in range(len(chosen))])
    rescaled = columns * (norms / torch.linalg.vector_norm(columns, dim=1))[:, None]
    prototypes, class_of = (values.cpu() for values in prototypes_of(kmex))
    kept = torch.isin(class_of, chosen)
    return {
        "columns": (columns, torch.arange(len(chosen))),
        "columns, rescaled": (rescaled, torch.arange(len(chosen))),
        "KMEx": (prototypes[kept].float(), torch.searchsorted(chosen, class_of[kept])),
    }


def embedding_panels(
    parts: Mapping[str, Labelled], marks: Mapping[str, Labelled], names: Sequence[str], seed: int
) -> list[EmbeddingPanel]:
    """Two panels in UMAP's plane, which is fitted on the training embeddings: columns left, KMEx's prototypes right."""
    (z, labels), (test, test_labels) = parts["train"], parts["test"]
    train_at, test_at, *marks_at = plane(z, [test, *(points for points, _ in marks.values())], seed)
    at = dict(zip(marks, marks_at, strict=True))
    return [
        EmbeddingPanel(
            heading,
            names,
            train_at,
            labels,
            test_at,
            test_labels,
            {name: Marks(at[name], marks[name][1], marker) for name, marker in shown.items()},  # type: ignore[arg-type]
        )
        for heading, shown in PANELS.items()
    ]
