"""The prototypes of a subject, in the space in which they are compared with images."""

from collections.abc import Sequence

import torch
from torch import Tensor

from xcnn.data.tensors import TensorDataModule
from xcnn.errors import UserError
from xcnn.evaluation.subject import Subject
from xcnn.figures import PartPrototype
from xcnn.models.protopnet import ProtoPNet
from xcnn.prototypes.codebook import fitted
from xcnn.report.tables import Row


def prototypes_of(subject: Subject) -> tuple[Tensor, Tensor]:
    """Prototypes (K, D) and the class of each (K,), in the space of `embeddings`."""
    if isinstance(subject.network, ProtoPNet):
        return subject.network.prototypes.detach().flatten(1), subject.network.class_of
    assert subject.method is not None
    book = fitted(subject.method.codebook)
    return book.prototypes, book.class_of


@torch.no_grad()
def embeddings(subject: Subject, images: Tensor) -> Tensor:
    """What prototypes of images are compared with, (N, D): the average over locations of the encoder's output.

    Of a ProtoPNet, the average over locations of its add-on layers' output.
    """
    with subject.autocast():
        if isinstance(subject.network, ProtoPNet):
            parts = (subject.prepare(part.to(subject.device)) for part in images.split(subject.batch))
            return torch.cat([subject.network.latent(part).mean((2, 3)).float() for part in parts])
        assert subject.method is not None
        return subject.method.encoder.embeddings(images)


def training_share(data: TensorDataModule, share: float | None, seed: int) -> Tensor:
    """Places among the training images: all, or this share of each class (one at least), drawn by the seed.

    Raises:
        UserError: a share that is not in (0, 1].
    """
    labels = data.train.labels
    if share is None:
        return torch.arange(len(labels))
    if not 0 < share <= 1:
        raise UserError(f"fit_share must be in (0, 1], or null for all training images, not {share}.")
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    members = [order[labels[order] == j] for j in range(len(data.classes))]
    return torch.cat([part[: max(1, round(share * len(part)))] for part in members]).sort().values


def learnt_parts(subject: Subject, classes: int) -> dict[str, list[PartPrototype]]:
    """The prototypes of a ProtoPNet's first classes where the last push found them, by class.

    The box is the location's own share of the image, not its receptive field, which may be all of it.
    """
    network = subject.network
    if not isinstance(network, ProtoPNet):
        raise AssertionError("only a ProtoPNet's prototypes come from patches")
    train = subject.data.train
    height, width = train.images.shape[2:]
    with torch.no_grad(), subject.autocast():
        rows, columns = network.latent(subject.prepare(train.images[:1].to(subject.device))).shape[2:]
    found: dict[str, list[PartPrototype]] = {}
    for label, name in list(enumerate(subject.data.classes))[:classes]:
        for image, row, column in network.source[network.class_of == label].tolist():
            box = [column * width / columns, row * height / rows]
            box += [box[0] + width / columns, box[1] + height / rows]
            found.setdefault(name, []).append(PartPrototype(train.images[image].numpy(), box, f"image {image}"))
    return found


def by_network(rows: Sequence[Row]) -> dict[tuple[str, str], dict[str, Row]]:
    """Rows by data set and network, then by method; of a method's several, with other options, the one with the fewest
    overrides: that of the method's own configuration."""

    def overrides(row: Row) -> int:
        return len(row.records[0]["overrides"])

    groups: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        methods = groups.setdefault((row.dataset, row.model), {})
        methods[row.method] = min(methods.get(row.method, row), row, key=overrides)
    return groups


def per_class(row: Row) -> int | None:
    """K/C, prototypes for each class; None of a method that has no such option."""
    chosen = row.records[0]["settings"]
    number: int | None = (chosen.get("prototypes") or chosen.get("protopnet") or {}).get("per_class")
    return number


TITLES = {"cnn": "the CNN", "kmex": "KMEx", "protopnet": "ProtoPNet", "b4": "B4", "b34": "B34", "b234": "B234"}


def points(difference: float) -> str:
    """A difference in points, with its sign; of what rounds to nothing, none."""
    shown = f"{difference:+.1f}"
    return "0.0" if float(shown) == 0 else shown
