"""The prototypes of a subject, in the space in which they are compared with images."""

import torch
from torch import Tensor

from xcnn.data.tensors import TensorDataModule
from xcnn.errors import UserError
from xcnn.evaluation.subject import Subject
from xcnn.figures import PartPrototype
from xcnn.models.protopnet import ProtoPNet
from xcnn.prototypes import BLOCK_WEIGHTS, EncoderExplanation
from xcnn.prototypes.codebook import fitted


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


def block_shares(method: EncoderExplanation, image: Tensor) -> dict[str, float]:
    """`share/<block>`: share of the squared norm, in %, that a block has in the normalised and weighted blocks (eq. 8).

    Args:
        image: bytes (1, C, H, W), whatever it shows.
    """
    squared = [BLOCK_WEIGHTS[method.block_weight](part.shape[1]) ** 2 for part in method.encoder.maps(image)]
    blocks = zip(method.encoder.blocks, squared, strict=True)
    return {f"share/{block}": 100 * part / sum(squared) for block, part in blocks}
