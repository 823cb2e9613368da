"""Which images are shown: the first of a list that fit a rule, or those that are named."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from xcnn.data.pictures import PictureBatch
from xcnn.data.tensors import TensorDataModule, scale
from xcnn.errors import UserError
from xcnn.evaluation.subject import Subject


@dataclass(frozen=True)
class ImageChoice:
    """A test image chosen by rule, with the network's prediction of it."""

    index: int
    image: Tensor
    label: str
    predicted: str
    probabilities: Tensor


@torch.inference_mode()
def choose_image(
    networks: Sequence[nn.Module], data: TensorDataModule, label: str | None, correct: bool, skip: int = 0
) -> ImageChoice:
    """The first test image, in file order, of a class that every network gets right (or every one gets wrong).

    Args:
        networks: in eval mode; the prediction returned is the last one's.
        label: name of the class; None for any.
        correct: whether the networks must be right or wrong.
        skip: pass over this many such images.

    Raises:
        UserError: there is no such class, or not enough such images.
    """
    if label is not None and label not in data.classes:
        raise UserError(f"{data.name} has no class {label!r}; there are: {', '.join(data.classes)}.")
    labels = data.test.labels
    indices = torch.arange(len(labels)) if label is None else (labels == data.classes.index(label)).nonzero().flatten()
    images, targets = scale(data.test.images[indices]), labels[indices]
    probabilities = [torch.cat([network(part).softmax(1) for part in images.split(500)]) for network in networks]
    fits = torch.stack([(p.argmax(1) == targets) == correct for p in probabilities]).all(0)
    places = torch.nonzero(fits).flatten()
    if len(places) <= skip:
        raise UserError(
            f"{len(places)} test images of {label or 'any class'!r} are {'rightly' if correct else 'wrongly'} "
            f"classified by every one of {len(networks)} networks, and number {skip + 1} was asked for: choose another "
            "class, or train longer."
        )
    place = places[skip]
    chosen, name = probabilities[-1][place], data.classes[int(targets[place])]
    return ImageChoice(int(indices[place]), images[place], name, data.classes[int(chosen.argmax())], chosen)


@dataclass(frozen=True)
class Rule:
    """Which pictures of a list are shown: the first ones, in its order, that every network gets right and that fit.

    Args:
        n: number of images, at most.
        confidence: each network's confidence in the image's class is above this.
        least_boxes, most_boxes: fewest and most boxes in the crop; None for any number.
        distinct: whether no two are of one class.

    Raises:
        UserError: nothing can fit.
    """

    n: int
    confidence: float = 0
    least_boxes: int = 0
    most_boxes: int | None = None
    distinct: bool = False

    def __post_init__(self) -> None:
        if self.n < 1 or (self.most_boxes is not None and self.most_boxes < self.least_boxes) or self.confidence >= 1:
            raise UserError(f"no picture fits {self}: choose n >= 1, confidence < 1 and most_boxes >= least_boxes.")


@torch.inference_mode()
def choose(subjects: Sequence[Subject], rule: Rule) -> tuple[str, ...]:
    """The ids of the pictures of the first subject's list that fit; all networks see them as it crops them.

    Raises:
        UserError: there is none.
    """
    first = subjects[0]
    places = range(len(first.pictures))
    chosen: dict[str, int] = {}
    for batch in first.pictures.read_ahead(places[i : i + first.batch] for i in places[:: first.batch]):
        most = torch.inf if rule.most_boxes is None else rule.most_boxes
        fitting = [place for place, boxes in enumerate(batch.boxes) if rule.least_boxes <= len(boxes) <= most]
        if not fitting:
            continue
        labels, right = batch.labels[fitting], torch.ones(len(fitting), dtype=torch.bool)
        for subject in subjects:
            with subject.autocast():
                logits = subject.network(
                    subject.normalise(subject.scaled(replace(batch, images=batch.images[fitting])))
                )
            confidence, predicted = logits.double().softmax(1).cpu().max(1)
            right &= (predicted == labels) & (confidence > rule.confidence)
        for place, label, fits in zip(fitting, labels.tolist(), right.tolist(), strict=True):
            if fits and not (rule.distinct and label in chosen.values()):
                chosen[batch.ids[place]] = label
            if len(chosen) == rule.n:
                return tuple(chosen)
    if not chosen:
        raise UserError(
            f"{first.name} has no picture that every network gets right and that fits {rule}: ask for less confidence "
            "or another number of boxes."
        )
    return tuple(chosen)


def select_images(
    subjects: Sequence[Subject], rules: Sequence[Mapping[str, Any]], ids: Sequence[str] | None
) -> PictureBatch:
    """The pictures that a figure shows: those with these ids, in this order, or else those that each rule chooses.

    Args:
        subjects: as for `choose`.
        rules: arguments of `Rule`, of each.
        ids: None for the rules' choice.

    Raises:
        UserError: the list has no such picture, or none that fits.
    """
    pictures = subjects[0].pictures
    chosen = dict.fromkeys(ids or (name for rule in rules for name in choose(subjects, Rule(**rule))))
    places = {name: place for place, name in enumerate(pictures.ids)}
    if unknown := [name for name in chosen if name not in places]:
        raise UserError(
            f"{subjects[0].name} has no picture {', '.join(unknown)}; its ids are like {', '.join(pictures.ids[:2])}."
        )
    return pictures.read([places[name] for name in chosen])
