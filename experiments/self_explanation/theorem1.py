"""Post-hoc self-explanation, theorem 1: a network's logits are the average over locations of h_r . c_j.

Paper:      Boubekki & Clemmensen 2026, theorem 1 and section 3.1.
Command:    make self-explanation-theorem1
Reports:    the identity, proved; and of preliminary experiments, without numbers, that several columns for each class,
            merged by max or average pooling, end with a single direction dominating each class.
Cost:       on one busy CPU core ten minutes for 100 images and two networks, in float32 and float64; then nine cells of
            about a minute; on the embedded data the trainings of `make self-explanation-table2` (shared), then seconds.
Deviations: biases, which the paper omits, are kept: they are added after the average. The preliminary experiments are
            not described: here the encoder is frozen (ImageNet weights, Imagenette at 96 px), and only the columns are
            trained, five for each class. How far one of them dominates is measured against k-means' centroids.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from xcnn.data.pictures import PictureBatch
from xcnn.evaluation.image_rows import image_rows
from xcnn.evaluation.subject import Subject
from xcnn.launch import Setup, launch
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
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary, claim

ROUNDING = 1e-12  # of the largest logit: what float64 may lose
SEVERAL = ("columns_max", "columns_average")


def measure(setup: Setup, cell: Cell) -> Measured:
    subject, layer = setup.explained(), setup.options.cam_layer
    if setup.options.columns == "own":
        return own_columns(cell, subject, layer, setup.options.chunk)
    return several_columns(setup, subject, Encoder(subject.network, (layer,), subject.prepare, subject.batch))


def own_columns(cell: Cell, subject: Subject, layer: str, chunk: int) -> Measured:
    """How far the logits are from the average over locations of the columns' dot products, image by image."""
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


def several_columns(setup: Setup, subject: Subject, encoder: Encoder) -> Measured:
    """How far one of a class's several columns, or centroids of k-means, dominates the class's training images."""
    options, train = setup.options, subject.data.train
    embeddings, labels, classes = encoder.embeddings(train.images).float().cpu(), train.labels, len(subject.classes)
    own = torch.arange(len(labels)), labels
    if options.columns == "k_means":
        each = KMeans(options.per_class, seed=options.seed).fit_each([embeddings[labels == j] for j in range(classes)])
        columns = each.centroids_
        distances = torch.cdist(embeddings[:, None], columns[labels])[:, 0]
        predicted = nearest(embeddings, columns.flatten(0, 1))[0] // options.per_class
        values = {"dominance": dominance(distances.argmin(1), labels)}
    else:
        start = random_columns(classes, options.per_class, embeddings.shape[1], options.seed)
        network = MergedColumns(start, options.columns)
        values = {"dominance/start": dominance(network.similarities(embeddings)[own].argmax(1), labels)}
        fit_columns(network, embeddings, labels, **options.fit)
        columns, predicted = network.columns.detach(), network(embeddings).argmax(1)
        values |= {"dominance": dominance(network.similarities(embeddings)[own].argmax(1), labels)}
        values["first_direction/start"] = 100 * first_direction(start)
    values = {name: 100 * value if name.startswith("dominance") else value for name, value in values.items()}
    values |= {"first_direction": 100 * first_direction(columns)}
    return subject.measured({**values, "train": 100 * float((predicted == labels).double().mean())}, len(labels))


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
            claim(rows, "dominance", method, "columns_k_means", "higher", dataset, counts=False)
            for dataset in datasets
            for method in SEVERAL
        ],
        verdict="not run" if not own else "reproduced" if holds else "not reproduced",
        facts={"own": own, "several": several, "datasets": datasets, "claim_digits": 1},
    )


if __name__ == "__main__":
    launch(__file__, measure, summarise)
