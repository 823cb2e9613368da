"""What a page shows of a network and an image, in pieces that are kept by their content's hash."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from xcnn.apps.explorer.networks import CONTROL, ExplainedNetwork
from xcnn.apps.explorer.pictures import name_of, png
from xcnn.apps.explorer.state import State
from xcnn.attribution import LayerMethod
from xcnn.errors import UserError
from xcnn.evaluation.filters import FilterExplainer
from xcnn.evaluation.selection import ImageChoice
from xcnn.figures import encircled, overlay, proportionate, upscale
from xcnn.figures.relevance_maps import Scale, coloured
from xcnn.figures.renderings import SIZE
from xcnn.fingerprint import fingerprint
from xcnn.launch.titles import titled

PREDICTIONS = 5  # classes listed
LEGENDS = {
    "signed": "red for, blue against the class",
    "sequential": "bright: relevant",
    "heat": "bright: relevant, on the image",
}


@dataclass(frozen=True)
class Piece:
    """A part of a page: plain values for the template and for JSON, and the pictures that they name."""

    values: dict[str, Any]
    pictures: dict[str, bytes] = field(default_factory=dict)

    def draw(self, picture: Any) -> str:
        """Add a picture (3, H, W) in [0, 1]; its name."""
        content = png(picture)
        self.pictures[name_of(content)] = content
        return name_of(content)


class Cache:
    """Pieces by the fingerprint of all that they depend on; the least recently used go. One is computed at a time."""

    def __init__(self, most: int = 512):
        self.most, self._held = most, OrderedDict[str, Piece]()
        self._computing, self._lock = threading.Lock(), threading.Lock()

    def get(self, make: Callable[[], Piece], **depends: Any) -> Piece:
        """The piece for these values, made if it is not there."""
        key = fingerprint(depends)
        if (found := self._found(key)) is not None:
            return found
        with self._computing:
            if (found := self._found(key)) is None:
                found = make()
                with self._lock:
                    self._held[key] = found
                    if len(self._held) > self.most:
                        self._held.popitem(last=False)
            return found

    def _found(self, key: str) -> Piece | None:
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
            return self._held.get(key)


@dataclass(frozen=True)
class Chosen:
    """The image that a page is about.

    Attributes:
        image: (3, H, W) in [0, 1], as the network takes it.
        name: what to call it.
        label: name of its class; None for an upload, whose class is unknown.
    """

    image: Tensor
    name: str
    label: str | None

    @property
    def hash(self) -> str:
        return name_of(self.image.numpy().tobytes())


class Page(Mapping[str, Any]):
    """What a page shows, by part; a part that is a piece is made when it is first asked for.

    Args:
        values: the parts that are there.
        pieces: how the others are made.
        keep: takes the pictures of each piece, before it is shown.
    """

    def __init__(
        self,
        values: dict[str, Any],
        pieces: Mapping[str, Callable[[], Piece]],
        keep: Callable[[Mapping[str, bytes]], None],
    ):
        self._values, self._pieces, self._keep = values, pieces, keep

    def __getitem__(self, name: str) -> Any:
        if name not in self._values:
            piece = self._pieces[name]()
            self._keep(piece.pictures)
            self._values[name] = piece.values
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._values, *self._pieces]))

    def __len__(self) -> int:
        return len(self._values.keys() | self._pieces.keys())


class Explanations:
    """Explains images; what was explained before comes from the cache.

    Args:
        keep: takes the pictures of each piece that a page shows.
    """

    def __init__(self, keep: Callable[[Mapping[str, bytes]], None]) -> None:
        self.cache, self.keep = Cache(), keep

    def page(self, network: ExplainedNetwork, state: State, chosen: Chosen) -> Page:
        """A page with its prediction; the rest is made as it is asked for.

        Raises:
            UserError: the state names a class, a layer or a method that there is not.
        """
        layer, weights, image = network.layer(state), network.subject.weights, chosen.hash
        methods = {"first": state.first, "second": state.second, "control": CONTROL}
        for name in methods.values():
            network.method(name, layer)
        depends: dict[str, Any] = {"weights": weights, "data": network.subject.data.manifest, "image": image}
        prediction = self.cache.get(lambda: predicted(network, chosen), part="prediction", **depends)
        target = state.target or prediction.values["classes"][0]["name"]
        if target not in network.subject.classes:
            raise UserError(f"there is no class {target!r}; there are: {', '.join(network.subject.classes)}.")
        self.keep(prediction.pictures)
        depends |= {"layer": layer, "target": target}
        choices = state.model_dump(include={"sign", "n", "threshold", "sigma", "unit"})
        explainer = network.explainer(layer, state.unit)

        def attributed(name: str) -> Piece:
            make = lambda: attribution(network, chosen, layer, target, name)  # noqa: E731
            return self.cache.get(make, part="attribution", method=name, **depends)

        pieces: dict[str, Callable[[], Piece]] = {
            "filters": lambda: self.cache.get(
                lambda: filters(network, state, chosen, layer, target), part="filters", **depends, **choices
            ),
            "neighbours": lambda: self.cache.get(lambda: neighbours(network, chosen), part="neighbours", **depends),
            **{place: partial(attributed, name) for place, name in methods.items()},
        }
        values: dict[str, Any] = {
            "network": {
                "name": network.name,
                "title": network.title,
                "accuracy": network.accuracy,
                "weights": weights,
                "test_images": len(network.subject.data.test),
            },
            "image": {"name": chosen.name, "label": chosen.label, "hash": image},
            "layer": layer,
            "activity": {"dead_share": explainer.activity.dead_share, "filters": explainer.scores.shape[1]},
            "target": target,
            "prediction": prediction.values,
        }
        return Page(values, pieces, self.keep)


def predicted(network: ExplainedNetwork, chosen: Chosen) -> Piece:
    """The image, and the classes that the network gives it."""
    order = _choice(network, chosen).probabilities.sort(descending=True)
    names = [network.subject.classes[index] for index in order.indices.tolist()]
    piece = Piece(
        {
            "classes": [
                {"name": name, "probability": probability}
                for name, probability in zip(names[:PREDICTIONS], order.values.tolist(), strict=False)
            ],
            "right": None if chosen.label is None else names[0] == chosen.label,
        }
    )
    piece.values["picture"] = piece.draw(upscale(chosen.image))
    return piece


def filters(network: ExplainedNetwork, state: State, chosen: Chosen, layer: str, target: str) -> Piece:
    """The layer's filters that fire on the image, by score, and as a control the one that fires most."""
    explainer = network.explainer(layer, state.unit)
    piece = Piece({})
    score = explainer.scores[network.subject.classes.index(target)].tolist()
    ranked = explainer.ranked(chosen.image, target)
    orders = {
        "both": sorted(ranked, key=lambda k: -abs(score[k])),
        "positive": [k for k in ranked if score[k] > 0],
        "negative": [k for k in reversed(ranked) if score[k] < 0],
    }
    most_active = explainer.maps(chosen.image).mean((1, 2)).argmax().item()
    choice = _choice(network, chosen)
    piece.values["live"] = len(ranked)
    piece.values["shown"] = [
        _filter(piece, explainer, choice, target, index, state) for index in orders[state.sign][: state.n]
    ]
    piece.values["control"] = _filter(piece, explainer, choice, target, int(most_active), state)
    return piece


@torch.inference_mode()
def _choice(network: ExplainedNetwork, chosen: Chosen) -> ImageChoice:
    """The image with the network's prediction, as the filters' explainer takes it."""
    subject = network.subject
    logits = subject.network(subject.normalise(chosen.image[None].to(subject.device)))
    probabilities = logits[0].softmax(0).cpu()
    return ImageChoice(
        -1, chosen.image, chosen.label or "", subject.classes[int(probabilities.argmax())], probabilities
    )


def _filter(
    piece: Piece, explainer: FilterExplainer, choice: ImageChoice, target: str, index: int, state: State
) -> dict[str, Any]:
    """A filter's score, words and both renderings, drawn into the piece."""
    found = explainer.explain(choice, target, index)
    activation = found.view.activation
    return {
        **found.as_record(),
        "name": found.view.name,
        "proportionate": piece.draw(proportionate(choice.image, activation)),
        "encircled": piece.draw(encircled(choice.image, activation, state.threshold, state.sigma)),
    }


def attribution(network: ExplainedNetwork, chosen: Chosen, layer: str, target: str, name: str) -> Piece:
    """A method's map for the class, in the colours that suit it."""
    subject = network.subject
    method = network.method(name, layer)
    inputs = subject.normalise(chosen.image[None].to(subject.device))
    found = method(inputs, subject.classes.index(target))[0].detach().cpu()
    piece = Piece({"method": name, "title": titled(name), "lowest": float(found.min()), "highest": float(found.max())})
    scale: Scale = "signed" if found.min() < 0 else "sequential"
    if not isinstance(method, LayerMethod):  # relevance of single pixels, which an image beneath would hide
        piece.values["scale"], drawn = scale, coloured(found, scale, (SIZE, SIZE))
    else:
        piece.values["scale"], drawn = "heat", overlay(chosen.image, found)
    piece.values["picture"] = piece.draw(drawn)
    piece.values["legend"] = LEGENDS[piece.values["scale"]]
    return piece


def neighbours(network: ExplainedNetwork, chosen: Chosen) -> Piece:
    """The nearest training images, and the nearest prototypes with the training image nearest to each."""
    known = network.neighbours
    if known is None:
        return Piece({"nearest": [], "prototypes": [], "prototype_class": None})
    classes = network.subject.classes
    embedding = known.encoder.embeddings((chosen.image[None] * 255).round().byte())
    piece = Piece({})

    def entry(place: int, distance: float) -> dict[str, Any]:
        picture = piece.draw(known.images[place].float() / 255)
        return {"label": classes[int(known.labels[place])], "distance": distance, "picture": picture}

    places, distances = known.nearest(embedding[0])
    piece.values["nearest"] = [entry(*each) for each in zip(places, distances, strict=True)]
    found, book = known.kmex.explain_embeddings(embedding), known.kmex.codebook
    assert book is not None
    closest = found.log_similarity[0].topk(4)
    piece.values["prototypes"] = [
        {
            **entry(known.nearest(book.prototypes[index], 1)[0][0], (-value) ** 0.5),
            "class": classes[int(book.class_of[index])],
        }
        for index, value in zip(closest.indices.tolist(), closest.values.tolist(), strict=True)
    ]
    piece.values["prototype_class"] = classes[int(found.predicted[0])]
    return piece
