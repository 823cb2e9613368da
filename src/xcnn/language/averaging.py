"""Semantic averaging (section 3.4.2): the sentences about a layer's filters, grouped by score, become one text.

Filters whose score is next to nothing are neutral and dropped. Those for and those against the class are each put into
buckets by the size of their score; each bucket is averaged to a sentence, and the buckets' sentences to one, weighted
by their mean scores. The paper leaves the averaging to a language model; without one it is extractive: of the
sentences, the one nearest to their weighted centroid in TF-IDF, so that every word was said of some filter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal, Protocol

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from xcnn.errors import UserError
from xcnn.language.chat import PROMPTS, ChatDescriber, template
from xcnn.language.replies import Question

Side = Literal["for", "against"]


@dataclass(frozen=True)
class Sentence:
    """What is said of filters, and their score: a filter's description, or the average of a bucket.

    Attributes:
        text: the words.
        score: algorithm 1's, of the filter, or the mean over the bucket.
        filters: which filters it is about.
        named: those of them whose own words these are; all, where a language model has put them together.
    """

    text: str
    score: float
    filters: tuple[int, ...]
    named: tuple[int, ...]


_OPENINGS: dict[Side, str] = {"for": "For", "against": "Against"}


class Average(Protocol):
    """Puts sentences into one."""

    def __call__(self, sentences: Sequence[Sentence], target: str, side: Side) -> Sentence:
        """The average of the sentences, weighted by |score|; they are for or against the class `target`."""
        ...


@dataclass(frozen=True)
class Explanation:
    """What the filters of a layer say for and against a class.

    Attributes:
        target: the class.
        positive, negative: a sentence for each bucket, the strongest first.
        summaries: by side, the average of its buckets; empty where there is no filter.
        neutral: the filters that were dropped.
        text: all of it.
    """

    target: str
    positive: tuple[Sentence, ...]
    negative: tuple[Sentence, ...]
    summaries: Mapping[Side, Sentence]
    neutral: tuple[int, ...]
    text: str


def semantic_average(
    texts: Mapping[int, str],
    scores: Mapping[int, float],
    target: str,
    average: Average,
    epsilon: float = 1e-3,
    buckets: int = 5,
) -> Explanation:
    """The explanation of a class by the filters' texts.

    Args:
        texts: a description for each filter.
        scores: of each filter, for the class.
        target: the class.
        average: `extractive`, or a language model's.
        epsilon: a filter with |score| below it is neutral.
        buckets: most buckets for each sign; they hold equally many filters, up to one.

    Raises:
        UserError: a filter has no score, or there is no bucket.
    """
    if missing := texts.keys() - scores.keys():
        raise UserError(f"filters {sorted(missing)} have a text and no score.")
    if buckets < 1:
        raise UserError(f"buckets must be at least 1, not {buckets}.")
    neutral = tuple(k for k in texts if abs(scores[k]) < epsilon)
    sides: dict[Side, tuple[Sentence, ...]] = {}
    signs: dict[Side, int] = {"for": 1, "against": -1}
    for side, sign in signs.items():
        chosen = [Sentence(texts[k], scores[k], (k,), (k,)) for k in texts if sign * scores[k] >= epsilon]
        chosen.sort(key=lambda sentence: -abs(sentence.score))
        parts = np.array_split(np.arange(len(chosen)), min(buckets, len(chosen))) if chosen else []
        sides[side] = tuple(average([chosen[int(i)] for i in part], target, side) for part in parts)
    summaries = {side: average(found, target, side) for side, found in sides.items() if found}
    sentences = [
        f"{words} {target}: {summaries[side].text}" if side in summaries else f"{words} {target}: no filter."
        for side, words in _OPENINGS.items()
    ]
    plural = "" if len(neutral) == 1 else "s"
    sentences.append(f"Neutral: {len(neutral)} filter{plural} with a score below {epsilon:g}.")
    return Explanation(target, sides["for"], sides["against"], summaries, neutral, "\n".join(sentences))


def extractive(sentences: Sequence[Sentence], target: str, side: Side) -> Sentence:
    """The sentence nearest to the centroid, weighted by |score|, in TF-IDF; the heaviest of several as near."""
    weights = np.abs([sentence.score for sentence in sentences])
    vectors = TfidfVectorizer(token_pattern=r"[\w%.]+").fit_transform([sentence.text for sentence in sentences])
    centroid = weights @ vectors.toarray()
    near = vectors @ centroid  # TF-IDF vectors have norm 1: the cosine up to the centroid's norm
    chosen = sentences[int(np.lexsort((-weights, -near.round(9)))[0])]
    return _bucket(sentences, chosen.text, chosen.named)


class LanguageModelAverage:
    """A language model's sentence, as the paper has it.

    Args:
        describer: whose model and parameters are used, and whose replies are kept.
    """

    def __init__(self, describer: ChatDescriber):
        self._describer = describer
        self._template = template(str(PROMPTS / "average.jinja"))

    def __call__(self, sentences: Sequence[Sentence], target: str, side: Side) -> Sentence:
        """One sentence that says what they have in common.

        Raises:
            UserError: there is no usable reply.
        """
        if len(sentences) == 1:
            return sentences[0]
        lines = [(" ".join(sentence.text.split()), abs(sentence.score)) for sentence in sentences]
        text = self._template.render(lines=lines, target=target, side=side).strip()
        parameters = {name: value for name, value in self._describer.parameters.items() if name != "response_format"}
        reply = self._describer.reply(Question(self._describer.model, parameters, text, ()))
        return _bucket(sentences, reply.text, tuple(k for sentence in sentences for k in sentence.named))


def _bucket(sentences: Sequence[Sentence], text: str, named: tuple[int, ...]) -> Sentence:
    filters = tuple(k for sentence in sentences for k in sentence.filters)
    return Sentence(text, fmean(sentence.score for sentence in sentences), filters, named)
