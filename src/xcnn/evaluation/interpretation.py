"""What a method makes of one image: its explanation map, its importance, and the training patches of its prototypes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xcnn.data.tensors import TensorDataModule
from xcnn.errors import UserError
from xcnn.evaluation.subject import Subject
from xcnn.figures import Interpretation, PrototypePatch
from xcnn.prototypes import EncoderExplanation, nearest_patches


@dataclass(frozen=True)
class Interpreted:
    """A method's interpretation of an image.

    Args:
        panel: to be drawn.
        facts: class predicted, shape of the map, and of each prototype in it its class, share of the map, mean
            attribution and nearest training image, the largest share first.
        values: `segments`, the number of prototypes in the map; `own`, share of its locations whose prototype is of the
            image's class.
    """

    panel: Interpretation
    facts: Mapping[str, Any]
    values: Mapping[str, float]


def interpret(subject: Subject, method: EncoderExplanation, name: str, place: int) -> Interpreted:
    """The interpretation of the test image at a place of the data set (figure 1).

    Args:
        name: name of the method, in capitals in the panel.
    """
    data = subject.data
    image, label, train = data.test.images[place], int(data.test.labels[place]), data.train
    with subject.autocast():
        said = method.explain(image[None], attribute=True)
        present, counts = (found.tolist() for found in said.segments.unique(return_counts=True))
        patches = nearest_patches(method, train.images, train.labels, present)
    assert said.attribution is not None
    class_of = method.codebook.class_of
    names = {k: data.classes[int(class_of[k])] for k in patches}
    drawn = {k: PrototypePatch(names[k], train.images[patch.image], patch.region) for k, patch in patches.items()}
    prototypes = [
        {
            "class": names[k],
            "share": round(count / said.segments.numel(), 4),
            "attribution": round(float(said.attribution[said.segments == k].mean()), 4),
            "training_image": patches[k].image,
        }
        for k, count in sorted(zip(present, counts, strict=True), key=lambda pair: -pair[1])
    ]
    own = class_of[said.segments.flatten()] == label
    return Interpreted(
        Interpretation(name.upper(), image, said.segments[0].cpu(), said.attribution[0].cpu(), drawn),
        {
            "predicted": data.classes[int(said.predicted)],
            "shape": list(said.segments.shape[1:]),
            "prototypes": prototypes,
        },
        {"segments": float(len(present)), "own": float(own.double().mean())},
    )


def candidates(data: TensorDataModule, picture: str | None, label: str | None) -> Sequence[int]:
    """Places of the test images to choose from: that with an id, those of a class, or all.

    Raises:
        UserError: there is no such image or class.
    """
    if picture is not None:
        ids = data.pictures.ids
        if picture not in ids:
            raise UserError(f"{data.name} has no test image {picture!r}; they are {ids[0]} to {ids[-1]}.")
        return [ids.index(picture)]
    if label is None:
        return range(len(data.test))
    if label not in data.classes:
        raise UserError(f"{data.name} has no class {label!r}; there are: {', '.join(data.classes)}.")
    places: list[int] = (data.test.labels == data.classes.index(label)).nonzero()[:, 0].tolist()
    return places


def first_right(places: Sequence[int], subject: Subject, methods: Sequence[EncoderExplanation]) -> int:
    """The first of these test images that the network and all methods get right.

    Raises:
        UserError: there is none.
    """
    test = subject.data.test
    for place in places:
        with subject.autocast():
            said = [method.explain(test.images[place : place + 1]) for method in methods]
        predicted = [int(found) for one in said for found in (one.predicted, one.logits.argmax(1))]
        if set(predicted) == {int(test.labels[place])}:
            return place
    raise UserError("there is no such test image that the network and all methods get right: name one by its id.")
