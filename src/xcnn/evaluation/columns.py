"""The classifier's columns as prototypes: theorem 1 on images, and what several columns for each class become."""

import copy
from typing import Literal

import torch
from torch import Tensor

from xcnn.data.pictures import PictureBatch
from xcnn.evaluation.image_rows import image_rows
from xcnn.evaluation.subject import Subject
from xcnn.models.split import split_at
from xcnn.prototypes import (
    Encoder,
    KMeans,
    MergedColumns,
    dominance,
    first_direction,
    fit_columns,
    nearest,
    random_columns,
)
from xcnn.report.cells import Cell, Measured


def own_columns(cell: Cell, subject: Subject, layer: str, chunk: int) -> Measured:
    """How far the logits are from the average over locations of the columns' dot products, image by image.

    Values: `error/float32`, `error/float64`, the largest over images and classes; `largest`, the largest logit; in %
    `locations`, those whose own dot products give the image's class, `without_bias`, images whose class is the same
    without the bias, and `top1`.
    """
    forms = {name: copy.deepcopy(subject.network).to(getattr(torch, name)) for name in ("float32", "float64")}
    parts = {name: (split_at(form, layer), Encoder(form, (layer,))) for name, form in forms.items()}

    @torch.inference_mode()
    def columns(batch: PictureBatch) -> dict[str, Tensor]:
        images, found = subject.normalise(subject.scaled(batch)), {}
        for name, (split, encoder) in parts.items():
            maps = split.trunk(images.to(encoder.columns.dtype))
            logits, dots = split.head(maps), torch.einsum("ndhw,cd->nchw", maps, encoder.columns)
            predicted, average = logits.argmax(1), dots.mean((2, 3))
            found[f"error/{name}"] = (average + encoder.bias - logits).abs().amax(1)
        own = (dots + encoder.bias[:, None, None]).argmax(1) == predicted[:, None, None]
        found |= {"largest": logits.abs().amax(1), "locations": own.double().mean((1, 2)), "target": predicted}
        return found | {"without_bias": average.argmax(1) == predicted}

    rows = image_rows(cell, subject, chunk, columns)
    values = {name: float(rows[name].max()) for name in ("error/float32", "error/float64", "largest")}
    values |= {name: 100 * float(rows[name].mean()) for name in ("locations", "without_bias")}
    return subject.measured({**values, "top1": 100 * float((rows["label"] == rows["target"]).mean())}, len(rows))


def several_columns(
    subject: Subject,
    layer: str,
    merge: Literal["max", "average", "k_means"],
    per_class: int,
    steps: int,
    lr: float,
    seed: int,
) -> Measured:
    """How far one of a class's several columns, or centroids of k-means, dominates the class's training images.

    Args:
        merge: how the columns of a class are merged, or `k_means` for centroids in their place.
        per_class: number of columns of a class.
        steps, lr: of Adam, on all embeddings at once.
        seed: random seed of the columns and of k-means.
    """
    encoder, train = Encoder(subject.network, (layer,), subject.prepare, subject.batch), subject.data.train
    embeddings, labels, classes = encoder.embeddings(train.images).float().cpu(), train.labels, len(subject.classes)
    own = torch.arange(len(labels)), labels
    if merge == "k_means":
        each = KMeans(per_class, seed=seed).fit_each([embeddings[labels == j] for j in range(classes)])
        columns = each.centroids_
        distances = torch.cdist(embeddings[:, None], columns[labels])[:, 0]
        predicted = nearest(embeddings, columns.flatten(0, 1))[0] // per_class
        values = {"dominance": dominance(distances.argmin(1), labels)}
    else:
        start = random_columns(classes, per_class, embeddings.shape[1], seed)
        network = MergedColumns(start, merge)
        values = {"dominance/start": dominance(network.similarities(embeddings)[own].argmax(1), labels)}
        fit_columns(network, embeddings, labels, steps, lr)
        columns, predicted = network.columns.detach(), network(embeddings).argmax(1)
        values |= {"dominance": dominance(network.similarities(embeddings)[own].argmax(1), labels)}
        values["first_direction/start"] = 100 * first_direction(start)
    values = {name: 100 * value if name.startswith("dominance") else value for name, value in values.items()}
    values |= {"first_direction": 100 * first_direction(columns)}
    return subject.measured({**values, "train": 100 * float((predicted == labels).double().mean())}, len(labels))
