"""Rationales of drawn shapes (DeConvolve, section 5): sentences that name an object's parts, their colours and places.

The facts of an image are one row of whole numbers: its class, and of each part whether it is there, the colour term
nearest to its mean colour, and the ninth of the picture that its centroid lies in. A sentence is a row of the same
columns that says some of them (`UNSAID` for the rest), so that it is true of an image if they agree wherever it speaks.
Training images that show a held-out pair of part and colour are left out, and so is every sentence about such a pair.
"""

import torch
from torch import Tensor

from xcnn.colour import BASIC_TERMS, basic_terms
from xcnn.data.shapes import CLASSES, PARTS, Shapes
from xcnn.data.tensors import Labelled, TensorDataModule, scale
from xcnn.errors import UserError

PLACES = ("top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right")
UNSAID, ABSENT = -1, -2
FEWEST = 3  # pixels of a part that is there
COLUMNS = 1 + 3 * len(PARTS)  # class; presence, colour and place of each part
PRESENCE, COLOUR, PLACE = (
    slice(1 + kind * len(PARTS), 1 + (kind + 1) * len(PARTS)) for kind in range(3)
)  # columns of each kind, by part
HELD_OUT_EVERY = 5  # of the (part, colour) pairs, along diagonals, so that each part and colour is also seen


def facts_of(data: Labelled) -> Tensor:
    """The facts of drawn images with masks of their parts, (N, COLUMNS) int64."""
    images, parts = scale(data.images), data.masks["parts"]
    n, height, width = parts.shape
    facts = torch.full((n, COLUMNS), ABSENT)
    facts[:, 0] = data.labels
    facts[:, PRESENCE] = 0
    rows, columns = (((torch.arange(side) + 0.5) * 3 / side) for side in (height, width))
    for index in range(len(PARTS)):
        mask = (parts == index + 1).float()
        area = mask.sum((1, 2))
        there = area >= FEWEST
        size = area[there, None]
        mean = torch.einsum("nchw,nhw->nc", images[there], mask[there]) / size
        down = (mask[there].sum(2) @ rows[:, None] / size).long().squeeze(1)
        across = (mask[there].sum(1) @ columns[:, None] / size).long().squeeze(1)
        facts[there, PRESENCE.start + index] = 1
        facts[there, COLOUR.start + index] = basic_terms(mean)
        facts[there, PLACE.start + index] = 3 * down + across
    return facts


def held_out_pairs(facts: Tensor) -> Tensor:
    """Which parts of each image have a colour that training never shows on them: (N, parts) bool."""
    colours = facts[:, COLOUR]
    return (colours >= 0) & ((torch.arange(len(PARTS)) + colours) % HELD_OUT_EVERY == 0)


def holds(said: Tensor, facts: Tensor) -> Tensor:
    """Which sentences (T, COLUMNS) are true of which facts (N, COLUMNS): (N, T) bool."""
    return ((said == UNSAID) | (said == facts[:, None])).all(2)


def class_names(labels: Tensor) -> Tensor:
    """Sentences that name a class (N,) and nothing else, (N, COLUMNS)."""
    said = torch.full((len(labels), COLUMNS), UNSAID)
    said[:, 0] = labels
    return said


def whole_rationales(facts: Tensor) -> Tensor:
    """Sentences that say all that there is of each image, (N, COLUMNS)."""
    there = torch.cat([torch.ones(len(facts), 1, dtype=torch.bool), *[facts[:, PRESENCE] == 1] * 3], 1)
    return torch.where(there, facts, UNSAID)


def drawn_rationales(facts: Tensor, names: float = 0.25) -> Tensor:
    """Sentences that say a random share of what there is, by torch's generator, (N, COLUMNS).

    Args:
        facts: of the images.
        names: share of the sentences that are the class's name alone; of the rest, three in ten do not name it.
    """
    n, parts = len(facts), len(PARTS)
    alone = torch.rand(n) < names
    mentioned = (facts[:, PRESENCE] == 1) & (torch.rand(n, parts) < 2 / 3) & ~alone[:, None]
    named = alone | (torch.rand(n) < 0.7) | ~mentioned.any(1)
    kinds = [mentioned, *(mentioned & (torch.rand(n, parts) < 0.8) for _ in range(2))]
    return torch.where(torch.cat([named[:, None], *kinds], 1), facts, UNSAID)


def sentence(said: Tensor) -> str:
    """A row (COLUMNS,) in words: `a car with a yellow body at the left and a wheel at the bottom`."""
    values = said.tolist()
    subject = "object" if values[0] == UNSAID else CLASSES[values[0]]
    clauses = []
    for index, part in enumerate(PARTS):
        if values[PRESENCE.start + index] == UNSAID:
            continue
        colour, place = values[COLOUR.start + index], values[PLACE.start + index]
        words = part if colour == UNSAID else f"{BASIC_TERMS[colour]} {part}"
        where = "" if place == UNSAID else f" {'in' if PLACES[place] == 'centre' else 'at'} the {PLACES[place]}"
        clauses.append(_with_article(words) + where)
    return _with_article(subject) + (f" with {' and '.join(clauses)}" if clauses else "")


def _with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


VOCABULARY = (
    "",  # padding
    *("a", "an", "and", "at", "in", "object", "the", "with"),
    *sorted({*CLASSES, *PARTS, *BASIC_TERMS, *(word for place in PLACES for word in place.split())}),
)
_INDEX = {word: index for index, word in enumerate(VOCABULARY)}
LONGEST = 29  # words of a sentence on three parts


def tokens(sentences: list[str]) -> Tensor:
    """Indices into `VOCABULARY` of each sentence's words, (N, words of the longest), 0 behind its end.

    Raises:
        UserError: a word is not in the vocabulary, or a sentence is too long.
    """
    words = [text.split() for text in sentences]
    if unknown := {word for each in words for word in each} - _INDEX.keys():
        raise UserError(f"no word of a rationale: {', '.join(sorted(unknown))}. Known are: {' '.join(VOCABULARY[1:])}.")
    if (most := max(map(len, words))) > LONGEST:
        raise UserError(f"a sentence has {most} words, and at most {LONGEST} are read: name fewer parts.")
    found = torch.zeros(len(words), most, dtype=torch.long)
    for row, each in zip(found, words, strict=True):
        row[: len(each)] = torch.tensor([_INDEX[word] for word in each])
    return found


class Rationales(TensorDataModule):
    """Drawn shapes with their facts in the labels' place; no training image shows a held-out pair.

    Args:
        source: the drawn images.
        shuffled: give each training image the facts of another of its class, drawn by the source's seed.

    Raises:
        UserError: the data set has no rationales.
    """

    def __init__(self, source: TensorDataModule, shuffled: bool = False):
        super().__init__(source.root, source.batch_size, source.val_share, source.seed)
        if source.name != Shapes.name:
            raise UserError(f"{source.name} has no rationales: they are generated for data=shapes.")
        self.source, self.shuffled = source, shuffled

    def setup(self, stage: str = "") -> None:
        if self._loaded:
            return
        source = self.source
        source.setup(stage)
        self.name, self.classes, self.manifest, self.pictures = (
            source.name,
            source.classes,
            source.manifest,
            source.pictures,
        )
        self.train, self.val, self.test = (
            Labelled(each.images, facts_of(each), each.masks) for each in (source.train, source.val, source.test)
        )
        self.train = self.train.subset((~held_out_pairs(self.train.labels).any(1)).nonzero().squeeze(1))
        if self.shuffled:
            self.train = Labelled(self.train.images, shuffled(self.train.labels, self.seed))
        self._loaded = True


def shuffled(facts: Tensor, seed: int) -> Tensor:
    """Each row in the place of another of its class, in a random cycle through the class (N, COLUMNS)."""
    generator = torch.Generator().manual_seed(seed)
    found = facts.clone()
    for label in facts[:, 0].unique():
        rows = (facts[:, 0] == label).nonzero().squeeze(1)
        order = rows[torch.randperm(len(rows), generator=generator)]
        found[order] = facts[order.roll(1)]
    return found
