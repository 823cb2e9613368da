"""The arithmetic of the two human studies of Pixel Ablation-CAM (sections 4.3 and 4.4).

Answers are a data frame with a row for each rater and image, as a study's database gives them. An answer that is
missing is a row that is not there, or one with a null in place of the answer. Every image counts the same, however many
raters answered it, and intervals are over images: the raters are taken as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xcnn.errors import UserError
from xcnn.metrics.bootstrap import Interval, bootstrap_means, interval, percentiles

SAME = "same"
SCORES = (-2, -1, 0, 1, 2)


@dataclass(frozen=True)
class Preferences:
    """Whose map the raters chose.

    Args:
        totals: for each method and "same", the sum over images of its share of the image's votes, in [0, maximum].
        shares: for each method, its share of the total of all methods, "same" left out, in [0, 1]; NaN if all are.
        maximum: number of images with a vote, which is what the totals add up to.
        without_votes: number of images that nobody answered.
    """

    totals: dict[str, Interval]
    shares: dict[str, Interval]
    maximum: int
    without_votes: int


def vote_counts(answers: pd.DataFrame, images: Sequence[str], methods: Sequence[str]) -> NDArray[np.int64]:
    """How often each choice was made: (images, methods + 1), "same" last.

    Args:
        answers: columns `image`, `rater` and `choice`: one of the methods, or "same".
        images: all that were shown; the rows of the result.
        methods: all that were compared; the columns of the result.

    Raises:
        UserError: a column is missing, an image or choice unknown, or an image answered twice by a rater.
    """
    choices = (*methods, SAME)
    answers = _given(answers, "choice", images)
    counts = np.zeros((len(images), len(choices)), np.int64)
    places = _places(answers["image"], images, "image"), _places(answers["choice"], choices, "choice")
    np.add.at(counts, places, 1)
    return counts


def preferences(
    counts: NDArray[np.int64], methods: Sequence[str], n_resamples: int = 2000, seed: int = 0, level: float = 0.95
) -> Preferences:
    """Section 4.3: votes divided by the raters who answered the image, summed over images; intervals over images.

    Args:
        counts: of `vote_counts`, (images, methods + 1).
        methods: as given there.
        n_resamples, seed, level: of the bootstrap.

    Raises:
        UserError: the counts are not of these methods, or there is no vote at all.
    """
    if counts.ndim != 2 or counts.shape[1] != len(methods) + 1:
        raise UserError(f"counts are {counts.shape} for {len(methods)} methods; pass vote_counts of the same methods.")
    votes = counts.sum(1)
    maximum = int((votes > 0).sum())
    if not maximum:
        raise UserError("no image has a vote: collect answers first.")
    per_image = counts[votes > 0] / votes[votes > 0, None]
    totals = per_image.sum(0)
    resampled = maximum * bootstrap_means(per_image, n_resamples, seed)
    with np.errstate(invalid="ignore"):  # 0 / 0: all votes are for "same"
        shares, resampled_shares = (
            total[..., :-1] / total[..., :-1].sum(-1, keepdims=True) for total in (totals, resampled)
        )
    return Preferences(
        _by_name((*methods, SAME), Interval(totals, *percentiles(resampled, level))),
        _by_name(methods, Interval(shares, *percentiles(resampled_shares, level))),
        maximum,
        without_votes=len(counts) - maximum,
    )


def fleiss_kappa(counts: NDArray[np.int64]) -> float:
    """Agreement of the raters beyond chance (Fleiss 1971): (images, choices) -> at most 1, 0 for chance.

    Raters may differ in number between images, each of which counts the same (Gwet 2014): chance is over the images
    with a vote, agreement over those with at least two. NaN if there are none, or if all votes are for one choice.
    """
    votes = counts.sum(1)
    chance = ((counts[votes > 0] / votes[votes > 0, None]).mean(0) ** 2).sum() if votes.any() else np.nan
    counts, votes = counts[votes > 1], votes[votes > 1]
    if not len(counts) or np.isclose(chance, 1):
        return float("nan")
    agreement = ((counts * (counts - 1)).sum(1) / (votes * (votes - 1))).mean()
    return float((agreement - chance) / (1 - chance))


@dataclass(frozen=True)
class Comparison:
    """Which of two models' maps the raters trust more.

    Args:
        score: mean over images of the mean score of the first-named model, in [-2, 2]; above 0 it is trusted more.
        images: number of images with a score.
        without_scores: number of images that nobody scored.
    """

    score: Interval
    images: int
    without_scores: int


def model_comparison(
    answers: pd.DataFrame,
    images: Sequence[str],
    models: tuple[str, str],
    n_resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Comparison:
    """Section 4.4: the score of the first of two models, whichever side it was shown on.

    Args:
        answers: columns `image`, `rater`, `left` (the model shown on the left, which the rater does not know) and
            `score`: +2 the left map is more dependable, +1 marginally so, 0 equally, -1 and -2 the right one.
        images: all that were shown.
        models: the two compared; the score is for the first.
        n_resamples, seed, level: of the bootstrap, over images.

    Raises:
        UserError: a column is missing, an image, model or score unknown, an image scored twice by a rater, or no score.
    """
    answers = _given(answers, "score", images)
    unknown = answers["score"][~answers["score"].isin(SCORES)]
    if len(unknown):
        raise UserError(f"score {unknown.tolist()[0]!r} is not one of {SCORES} ({len(unknown)} such rows).")
    if answers.empty:
        raise UserError("no image has a score: collect answers first.")
    sign = 1 - 2 * _places(answers["left"], models, "left")
    score = (answers["score"].astype(float) * sign).groupby(answers["image"], observed=True).mean()
    return Comparison(interval(score.to_numpy(), n_resamples, seed, level), len(score), len(images) - len(score))


def _given(answers: pd.DataFrame, answer: str, images: Sequence[str]) -> pd.DataFrame:
    """The answers that are not missing; refused where a rater answered an image twice."""
    needed = ["image", "rater", answer] + ["left"] * (answer == "score")
    missing = [column for column in needed if column not in answers]
    if missing:
        raise UserError(f"the answers have no column {', '.join(missing)}; needed are {', '.join(needed)}.")
    answers = answers[answers[answer].notna()]
    _places(answers["image"], images, "image")
    twice = answers[answers.duplicated(["image", "rater"])]
    if len(twice):
        image, rater = twice.iloc[0][["image", "rater"]]
        raise UserError(
            f"rater {rater} answered image {image!r} more than once ({len(twice)} such rows): keep one answer each."
        )
    return answers


def _places(column: pd.Series, known: Sequence[str], name: str) -> NDArray[np.intp]:
    """Where each entry stands among the known ones."""
    if len(set(known)) < len(known):
        raise UserError(f"the same {name} is listed twice: list each once.")
    places = pd.Index(known).get_indexer(pd.Index(column))
    if (places < 0).any():
        unknown = column[places < 0].tolist()[0]
        listed = ", ".join(map(str, known[:8])) + ", ..." * (len(known) > 8)
        raise UserError(f"{name} {unknown!r} is not known ({(places < 0).sum()} such rows); there are: {listed}.")
    return places


def _by_name(names: Sequence[str], values: Interval) -> dict[str, Interval]:
    return {name: Interval(*(ends[k] for ends in values)) for k, name in enumerate(names)}
