"""An image's explanation in words, and whether it is true: what removing the named filters does to the class."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from torch import Tensor

from xcnn.data.tensors import scale
from xcnn.errors import UserError
from xcnn.evaluation.filters import FilterExplainer
from xcnn.evaluation.image_rows import with_ends, with_intervals
from xcnn.evaluation.selection import ImageChoice
from xcnn.evaluation.subject import Subject
from xcnn.language import Describer, describe_all
from xcnn.language.averaging import Average, Explanation, LanguageModelAverage, extractive, semantic_average
from xcnn.language.chat import ChatDescriber
from xcnn.metrics.bootstrap import paired_difference
from xcnn.models.split import Split
from xcnn.report.cells import Cell

FEWEST = 3  # filters behind a rank correlation
CONTROLS = {"sign": ("chance", "other", "live"), "rank": ("other", "live")}


@dataclass(frozen=True, eq=False)
class ImageExplanation:
    """What is said of an image, and what the filters do to the probability of its predicted class.

    Attributes:
        explanation: by the scores of algorithm 1, for the predicted class.
        scores: (K,) of the predicted class. other_scores: (K,) of another class.
        effects: (K,) probability less that without the filter.
        maps: (K, h, w) of the image.
        target: index of the class.
    """

    explanation: Explanation
    scores: Tensor
    other_scores: Tensor
    effects: Tensor
    maps: Tensor
    target: int


def averaging(describer: Describer, by: str) -> Average:
    """How sentences are put into one.

    Raises:
        UserError: a language model is to do it, and the describer has none.
    """
    if by == "model" and isinstance(describer, ChatDescriber):
        return LanguageModelAverage(describer)
    if by != "extractive":
        raise UserError(f"averaging.by={by}: extractive, or model with a language model: describer=openai.")
    return extractive


def explain_image(
    explainer: FilterExplainer, choice: ImageChoice, average: Average, epsilon: float, buckets: int
) -> ImageExplanation:
    """Describe the filters that are live on an image and average what is said by their scores for the predicted class.

    Neutral filters are not described. The other class, whose scores are the control, is the second most probable.
    """
    classes = explainer.data.classes
    order = choice.probabilities.argsort(descending=True)
    target, other = int(order[0]), int(order[1])
    scores, maps = explainer.scores[target], explainer.maps(choice.image)
    live = [int(k) for k in torch.nonzero(maps.amax((1, 2)) > 0).flatten()]
    spoken = [k for k in live if abs(float(scores[k])) >= epsilon]
    said = describe_all(explainer.describer, [explainer.evidence(choice, classes[target], k, maps) for k in spoken])
    texts = dict.fromkeys(live, "") | {k: one.text for k, one in zip(spoken, said, strict=True)}
    explanation = semantic_average(
        texts, {k: float(scores[k]) for k in live}, classes[target], average, epsilon, buckets
    )
    effects = removal_effects(explainer.split, maps, [[k] for k in range(len(maps))], target)
    return ImageExplanation(explanation, scores, explainer.scores[other], effects, maps, target)


@torch.inference_mode()
def removal_effects(split: Split, maps: Tensor, removed: Sequence[Sequence[int]], target: int) -> Tensor:
    """Probability of a class less that with sets of filters silenced, on one image: maps (K, h, w) -> (sets,)."""
    batch = maps[None].repeat(len(removed) + 1, 1, 1, 1)
    for row, filters in enumerate(removed, start=1):
        batch[row, list(filters)] = 0
    probabilities = split.head(batch).double().softmax(1)[:, target]
    return probabilities[0] - probabilities[1:]


def agreement(found: ImageExplanation, split: Split, draws: int, generator: torch.Generator) -> dict[str, float]:
    """Whether the words are true of an image; NaN where no filter is named.

    Returns:
        `sign`, the share of the named filters whose removal moves the probability as their side says; `sign_chance`,
        what filters of unrelated effect would reach; `sign_live`, of all live filters that are not neutral;
        `sign_other`, of the named filters by the scores of the second class. `rank`, Spearman's correlation of score
        and effect over the named filters; `rank_other`, by the other class; `rank_live`, of all live filters.
        `fall_for`, how far the probability falls without all filters named for the class, and `rise_against`, how far
        it rises without those against; `fall_random`, `rise_random`, without as many live filters at random, mean over
        `draws`. `named`, how many.
    """
    words = found.explanation
    named = {
        "for": [k for sentence in words.positive for k in sentence.named],
        "against": [k for sentence in words.negative for k in sentence.named],
    }
    live = torch.nonzero(found.maps.amax((1, 2)) > 0).flatten()
    spoken = [int(k) for k in live if int(k) not in words.neutral]
    everyone = [*named["for"], *named["against"]]
    effects, scores, other = (values.double().numpy() for values in (found.effects, found.scores, found.other_scores))
    row: dict[str, float] = {
        "named": len(everyone),
        "sign": _sign(scores, effects, everyone),
        "sign_live": _sign(scores, effects, spoken),
        "sign_other": _sign(other, effects, everyone),
        "sign_chance": _chance(scores, effects, everyone, spoken),
        "rank": _rank(scores, effects, everyone),
        "rank_live": _rank(scores, effects, [int(k) for k in live]),
        "rank_other": _rank(other, effects, everyone),
    }
    for sign, filters, moved, chance in (
        (1, named["for"], "fall_for", "fall_random"),
        (-1, named["against"], "rise_against", "rise_random"),
    ):
        sets = [filters] + [
            live[torch.randperm(len(live), generator=generator)[: len(filters)]].tolist() for _ in range(draws)
        ]
        change = (sign * removal_effects(split, found.maps, sets, found.target)).tolist()
        row[moved], row[chance] = (change[0], float(np.mean(change[1:]))) if filters else (np.nan, np.nan)
    return row


def agreement_rows(
    cell: Cell,
    explainer: FilterExplainer,
    subject: Subject,
    explained: Callable[[ImageChoice], ImageExplanation],
    order: Tensor,
    draws: int,
    chunk: int,
) -> pd.DataFrame:
    """A row for each image: whether its words agree with the network, as `agreement` has it.

    Args:
        explained: what is said of an image.
        order: places of the test images.
        draws: random sets of filters for each image.
        chunk: images whose rows a kill can cost.
    """
    data = subject.data

    def measure(places: range) -> pd.DataFrame:
        found = []
        for index in order[places.start : places.stop].tolist():
            image = scale(data.test.images[index])
            with torch.inference_mode():
                probabilities = subject.network(subject.normalise(image[None])).softmax(1)[0]
            label, predicted = data.classes[data.test.labels[index]], data.classes[int(probabilities.argmax())]
            choice = ImageChoice(index, image, label, predicted, probabilities)
            generator = torch.Generator().manual_seed(index)
            found.append(agreement(explained(choice), explainer.split, draws, generator))
        return pd.DataFrame(found)

    return cell.rows(len(order), chunk, measure)


def beside_controls(rows: pd.DataFrame) -> dict[str, float]:
    """Means over images with the ends of their intervals, and the paired differences from the controls."""
    values = with_intervals(rows.drop(columns="image", errors="ignore"))
    pairs = [(name, f"{name}_{control}") for name, controls in CONTROLS.items() for control in controls]
    for first, second in [*pairs, ("fall_for", "fall_random"), ("rise_against", "rise_random")]:
        found = paired_difference(rows[[first]].to_numpy(), rows[[second]].to_numpy())
        values |= with_ends([f"{first}-{second}"], found)
    return values


def text_record(choice: ImageChoice, found: ImageExplanation) -> dict[str, Any]:
    """A text, its buckets, and what the removal of each named filter does."""
    words = found.explanation
    return {
        "image": choice.index,
        "label": choice.label,
        "predicted": choice.predicted,
        "probability": round(float(choice.probabilities.max()), 4),
        "text": words.text,
        "neutral": len(words.neutral),
        "buckets": [
            {
                "side": side,
                "score": round(sentence.score, 4),
                "filters": len(sentence.filters),
                "named": list(sentence.named),
                "effect": round(float(found.effects[list(sentence.named)].mean()), 4),
                "text": sentence.text,
            }
            for side, sentences in (("for", words.positive), ("against", words.negative))
            for sentence in sentences
        ],
    }


def _sign(scores: np.ndarray, effects: np.ndarray, filters: Sequence[int]) -> float:
    chosen = list(filters)
    return float(np.mean(np.sign(scores[chosen]) == np.sign(effects[chosen]))) if chosen else np.nan


def _chance(scores: np.ndarray, effects: np.ndarray, named: Sequence[int], live: Sequence[int]) -> float:
    """Agreement expected of the named filters' signs with the effects of filters drawn from the live ones."""
    if not named:
        return np.nan
    share = {sign: float(np.mean(np.sign(effects[list(live)]) == sign)) for sign in (1, -1)}
    return float(np.mean([share[int(np.sign(scores[k]))] for k in named]))


def _rank(scores: np.ndarray, effects: np.ndarray, filters: Sequence[int]) -> float:
    chosen = list(filters)
    if len(chosen) < FEWEST or np.ptp(scores[chosen]) == 0 or np.ptp(effects[chosen]) == 0:
        return np.nan
    return float(spearmanr(scores[chosen], effects[chosen]).statistic)
