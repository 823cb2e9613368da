"""What a dual encoder of images and rationales knows: classes, whole rationales, colours, places, and who has which."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from xcnn.colour import BASIC_TERMS
from xcnn.data.rationales import (
    COLOUR,
    COLUMNS,
    PLACE,
    PLACES,
    PRESENCE,
    UNSAID,
    class_names,
    held_out_pairs,
    holds,
    sentence,
    tokens,
    whole_rationales,
)
from xcnn.data.shapes import CLASSES, PARTS
from xcnn.data.tensors import scale
from xcnn.errors import UserError
from xcnn.evaluation.subject import Subject
from xcnn.metrics.bootstrap import interval, paired_difference
from xcnn.metrics.retrieval import recalls, recalls_by_class
from xcnn.models.dual_encoder import DualEncoder
from xcnn.report.tables import named

Outcomes = dict[str, NDArray[np.float64]]
AT = (1, 5)


@torch.inference_mode()
def outcomes(subject: Subject, pool: int) -> Outcomes:
    """What becomes of each test image, or of each part of one, in every test; the same order for every network.

    Retrieval is among `pool` images with their whole rationales, or fewer where there are; `seen` images show no pair
    of part and colour that was held out of the training, `unseen` ones do.

    Returns:
        By test: `accuracy`, the class among the classes' names; `texts_at_k` and `images_at_k`, whether a true
        rationale of the image, an image of the rationale, is among the first k; `by_class`, what knowing the class
        alone is worth at 1; `colour` and `place` of the parts that are there, among all terms and places;
        `swap_colours` and `swap_places`, whether the whole rationale beats itself with these of two parts exchanged (a
        tie is half).

    Raises:
        UserError: there are no test images of either kind.
    """
    facts = subject.data.test.labels
    images = _encoded_images(subject, subject.data.test.images)
    pairs = held_out_pairs(facts)
    unseen = pairs.any(1)
    n = min(pool, int(unseen.sum()), int((~unseen).sum()))
    if n == 0:
        raise UserError(f"{len(facts)} test images leave none to retrieve: raise data.n_test.")
    found: dict[str, Tensor] = {}
    names = _encoded_texts(subject, class_names(torch.arange(len(CLASSES))))
    right = (images @ names.T).argmax(1) == facts[:, 0]
    for name, mask in (("seen", ~unseen), ("unseen", unseen)):
        found[f"accuracy/{name}"] = right[mask].double()
        chosen = mask.nonzero().squeeze(1)[:n]
        said = whole_rationales(facts[chosen])
        scores = images[chosen] @ _encoded_texts(subject, said).T
        positive, same = holds(said, facts[chosen]), facts[chosen, :1] == facts[chosen, 0]
        for k in AT:
            found[f"texts_at_{k}/{name}"] = recalls(scores, positive, k)
            found[f"images_at_{k}/{name}"] = recalls(scores.T, positive.T, k)
        found[f"by_class/{name}"] = recalls_by_class(positive, same)
    there = facts[:, PRESENCE] == 1
    for name, columns, values in (("colour", COLOUR, len(BASIC_TERMS)), ("place", PLACE, len(PLACES))):
        texts = _encoded_texts(subject, _one_part(columns, values)).unflatten(0, (len(PARTS), values))
        said_best = torch.einsum("nd,pvd->npv", images, texts).argmax(2)
        hit = (said_best == facts[:, columns]).double()
        if name == "colour":
            found |= {"colour/seen": hit[there & ~pairs], "colour/unseen": hit[there & pairs]}
        else:
            found[name] = hit[there]
    for name, columns in (("swap_colours", COLOUR), ("swap_places", PLACE)):
        rows, exchanged = swapped(facts, columns)
        usable = ~held_out_pairs(exchanged).any(1) & ~unseen[rows]
        rows, exchanged = rows[usable], exchanged[usable]
        true, other = (
            (images[rows] * _encoded_texts(subject, said)).sum(1) for said in (whole_rationales(facts[rows]), exchanged)
        )
        found[name] = (true > other).double() + 0.5 * (true == other).double()
    return {name: each.double().numpy() for name, each in found.items() if len(each)}


def swapped(facts: Tensor, columns: slice) -> tuple[Tensor, Tensor]:
    """Whole rationales in which the first two parts that differ in a kind of column exchange its values.

    Args:
        facts: (N, COLUMNS).
        columns: `COLOUR` or `PLACE`.

    Returns:
        The images that have two such parts (M,), and a sentence for each (M, COLUMNS).
    """
    rows, said = [], whole_rationales(facts)
    for row, values in enumerate(facts[:, columns].tolist()):
        there = [index for index, value in enumerate(values) if value >= 0]
        others = [index for index in there if values[index] != values[there[0]]]
        if others:
            rows.append(row)
            one, two = columns.start + there[0], columns.start + others[0]
            said[row, [one, two]] = said[row, [two, one]]
    chosen = torch.tensor(rows, dtype=torch.long)
    return chosen, said[chosen]


def majority(train: Tensor, test: Tensor) -> dict[str, float]:
    """Accuracy of saying of each part the colour, or the place, that it most often has in training.

    Args:
        train, test: facts of images.
    """
    there, pairs = test[:, PRESENCE] == 1, held_out_pairs(test)
    hits = {}
    for name, columns in (("colour", COLOUR), ("place", PLACE)):
        seen = [train[:, columns][:, part] for part in range(len(PARTS))]
        most = torch.tensor([int(values[values >= 0].mode().values) if (values >= 0).any() else -1 for values in seen])
        hits[name] = (test[:, columns] == most).double()
    found = {
        "colour_majority/seen": hits["colour"][there & ~pairs],
        "colour_majority/unseen": hits["colour"][there & pairs],
        "place_majority": hits["place"][there],
    }
    return {name: float(each.mean()) for name, each in found.items()}


def with_intervals(found: Outcomes) -> dict[str, float]:
    """The means of outcomes, with the ends of their intervals and the number behind them."""
    values: dict[str, float] = {}
    for name, each in found.items():
        mean, low, high = (float(value) for value in interval(each))
        values |= {
            named(name, end): value for end, value in (("", mean), ("low", low), ("high", high), ("n", len(each)))
        }
    return values


def gains(found: Outcomes, other: Outcomes, over: str) -> dict[str, float]:
    """What outcomes have over another network's on the same images: `<test>.over_<other>` and its ends, paired."""
    values: dict[str, float] = {}
    for name, each in found.items():
        one = paired_difference(each, other[name])
        ends = {f"over_{over}": one.mean, f"over_{over}_low": one.low, f"over_{over}_high": one.high}
        values |= {named(name, end): float(value) for end, value in ends.items()}
    return values


@torch.inference_mode()
def examples(subject: Subject, pool: int, n: int) -> list[Mapping[str, Any]]:
    """The first unseen images, the rationale of each, and the one of the pool that is nearest to it."""
    facts = subject.data.test.labels
    chosen = held_out_pairs(facts).any(1).nonzero().squeeze(1)[:pool]
    said = whole_rationales(facts[chosen])
    scores = _encoded_images(subject, subject.data.test.images[chosen]) @ _encoded_texts(subject, said).T
    best = scores.argmax(1)
    return [
        {"image": int(chosen[row]), "rationale": sentence(said[row]), "nearest": sentence(said[best[row]])}
        for row in range(min(n, len(chosen)))
    ]


def _one_part(columns: slice, values: int) -> Tensor:
    """Sentences that say one colour, or place, of one part, part by part: (parts x values, COLUMNS)."""
    said = torch.full((len(PARTS), values, COLUMNS), UNSAID)
    for part in range(len(PARTS)):
        said[part, :, PRESENCE.start + part] = 1
        said[part, :, columns.start + part] = torch.arange(values)
    return said.flatten(0, 1)


def _encoded_images(subject: Subject, images: Tensor) -> Tensor:
    network = _network(subject)
    return torch.cat([F.normalize(network.image(scale(part)), dim=1) for part in images.split(subject.batch)])


def _encoded_texts(subject: Subject, said: Tensor) -> Tensor:
    network = _network(subject)
    parts = [tokens([sentence(row) for row in part]) for part in said.split(subject.batch)]
    return torch.cat([F.normalize(network.text(part), dim=1) for part in parts])


def _network(subject: Subject) -> DualEncoder:
    assert isinstance(subject.network, DualEncoder)
    return subject.network
