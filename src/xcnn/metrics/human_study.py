"""The arithmetic of the two human studies of Pixel Ablation-CAM (sections 4.3 and 4.4).

Answers are a data frame with a row for each rater and image, as a study's database gives them. An answer that is
missing is a row that is not there, or one with a null in place of the answer. Every image counts the same, however many
raters answered it. Intervals are over raters and images: other raters would have answered otherwise, and intervals over
the images alone leave that out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.stats import binomtest

from xcnn.errors import UserError
from xcnn.metrics.bootstrap import Interval, bootstrap_means, interval, percentiles, two_way_bootstrap_means

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
    return votes_by_rater(answers, images, methods).sum(0)


def votes_by_rater(answers: pd.DataFrame, images: Sequence[str], methods: Sequence[str]) -> NDArray[np.int64]:
    """What each rater chose: (raters, images, methods + 1), 1 at the choice, all 0 where there is no answer.

    Raters are in the order of their first answer; arguments and errors are those of `vote_counts`.
    """
    choices = (*methods, SAME)
    answers = _given(answers, "choice", images)
    raters, known = pd.factorize(answers["rater"])
    votes = np.zeros((len(known), len(images), len(choices)), np.int64)
    votes[raters, _places(answers["image"], images, "image"), _places(answers["choice"], choices, "choice")] = 1
    return votes


def preferences(
    votes: NDArray[np.int64], methods: Sequence[str], n_resamples: int = 2000, seed: int = 0, level: float = 0.95
) -> Preferences:
    """Section 4.3: votes divided by the raters who answered the image, summed over images.

    Args:
        votes: of `votes_by_rater`, (raters, images, methods + 1): intervals over raters and images; or of
            `vote_counts`, (images, methods + 1): intervals over images, of these very raters.
        methods: as given there.
        n_resamples, seed, level: of the bootstrap.

    Raises:
        UserError: the votes are not of these methods, or there is no vote at all.
    """
    if votes.ndim not in (2, 3) or votes.shape[-1] != len(methods) + 1:
        raise UserError(f"votes are {votes.shape} for {len(methods)} methods; pass those of the same methods.")
    counts = votes.sum(0) if votes.ndim == 3 else votes
    answers = counts.sum(1)
    maximum = int((answers > 0).sum())
    if not maximum:
        raise UserError("no image has a vote: collect answers first.")
    per_image = counts[answers > 0] / answers[answers > 0, None]
    totals = per_image.sum(0)
    if votes.ndim == 3:
        given = np.where(votes.sum(2, keepdims=True) > 0, votes, np.nan)[:, answers > 0]
        resampled = maximum * two_way_bootstrap_means(given, n_resamples, seed)
    else:
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


def luce_strengths(
    choices: NDArray[np.int64], shown: NDArray[np.bool_], steps: int = 10_000, tolerance: float = 1e-10
) -> NDArray[np.float64]:
    """Luce's strengths of the methods (Bradley & Terry's where two are shown), by maximum likelihood (Hunter 2004).

    A rater is taken to choose method m of those shown with probability exp(s_m) / sum over the shown of exp(s).
    "Same" is no strength: leave such answers out, and report their share apart.

    Args:
        choices: method chosen, by its place: (answers,).
        shown: which methods were shown: (answers, methods).
        steps: most iterations.
        tolerance: change of a strength at which the iteration ends.

    Returns:
        (methods,) log strengths with mean 0.

    Raises:
        UserError: a method was chosen that was not shown, or some methods were never chosen over the others, so that
            no finite strengths exist.
    """
    answers, methods = shown.shape
    if not shown[np.arange(answers), choices].all():
        raise UserError("an answer names a method that was not shown: `shown` must be True at each choice.")
    wins = np.bincount(choices, minlength=methods)
    beaten = np.zeros((methods, methods), bool)  # [i, j]: i was chosen where j was shown
    for winner in range(methods):
        beaten[winner] = shown[choices == winner].any(0)
    if connected_components(beaten, connection="strong")[0] > 1:
        raise UserError(
            f"the methods were chosen {wins.tolist()} times, and some never over the others: their strengths are "
            "infinite. Collect more answers or leave such a method out."
        )
    strength = np.ones(methods)
    for _ in range(steps):
        new = wins / (shown / (shown @ strength)[:, None]).sum(0)
        new /= np.exp(np.log(new).mean())
        change, strength = np.abs(np.log(new / strength)).max(), new
        if change < tolerance:
            break
    return np.log(strength)


def chosen_of_shown(
    answers: pd.DataFrame, methods: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.bool_], pd.DataFrame]:
    """The answers that name a method, as `luce_strengths` takes them, whichever of the methods were shown.

    Left out are "same", missing answers, and those to maps of other methods than these.

    Args:
        answers: columns `choice` and `sides`: the methods shown, from left to right, with | between them.
        methods: those compared.

    Returns:
        (answers,) places of the chosen methods; (answers, methods) which were shown; the rows of `answers` behind them.
    """
    shown = answers["sides"].str.get_dummies("|").astype(bool)
    others = shown.drop(columns=[name for name in methods if name in shown]).any(axis=1)
    kept = answers["choice"].isin(methods) & ~others
    choices = pd.Index(methods).get_indexer(pd.Index(answers["choice"][kept])).astype(np.int64)
    return choices, shown.reindex(columns=list(methods), fill_value=False)[kept].to_numpy(), answers[kept]


def head_to_head(answers: pd.DataFrame, first: str, second: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Which of two methods was chosen where both were shown, as `mixed_logit` takes it: two of (raters, images).

    Answers for a third method are left out: in the model it does not matter to the odds of these two.

    Args:
        answers: columns `image`, `rater`, `choice` and `sides`.
        first, second: the methods.

    Returns:
        How often the first one was chosen, and how often either was.
    """
    both = answers["sides"].str.split("|").map(lambda sides: {first, second} <= set(sides))
    some = answers[both & answers["choice"].isin((first, second))]
    (raters, of_raters), (images, of_images) = (pd.factorize(some[name]) for name in ("rater", "image"))
    wins, asked = np.zeros((2, len(of_raters), len(of_images)))
    np.add.at(asked, (raters, images), 1)
    np.add.at(wins, (raters, images), (some["choice"] == first).to_numpy(float))
    return wins, asked


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


def krippendorff_alpha(counts: NDArray[np.int64], values: Sequence[float] | None = None) -> float:
    """Krippendorff's alpha (2011): 1 - observed / expected disagreement; at most 1, 0 for chance.

    Images with fewer than two answers say nothing of agreement and are left out. Unlike Fleiss' kappa, an image counts
    by its answers, and chance is corrected for the number of answers.

    Args:
        counts: (images, choices), how often each was given.
        values: the choices as numbers, whose squared difference is then the disagreement; None for names, of which any
            two differ alike.

    Returns:
        NaN if no image has two answers, or if all answers are the same.
    """
    votes = counts.sum(1)
    counts, votes = counts[votes > 1].astype(np.float64), votes[votes > 1]
    numbers = None if values is None else np.asarray(values, np.float64)
    apart = 1 - np.eye(counts.shape[1]) if numbers is None else (numbers[:, None] - numbers) ** 2
    pairs = np.einsum("ic,ik,i->ck", counts, counts, 1 / (votes - 1))  # a choice with itself is at distance 0
    given = counts.sum(0)
    expected = (np.outer(given, given) * apart).sum()
    if not len(counts) or expected == 0:
        return float("nan")
    return float(1 - (given.sum() - 1) * (pairs * apart).sum() / expected)


@dataclass(frozen=True)
class Comparison:
    """Which of two models' maps the raters trust more.

    Args:
        score: mean over images of the mean score of the first-named model, in [-2, 2]; above 0 it is trusted more.
        images: number of images with a score.
        without_scores: number of images that nobody scored.
        raters: numbers of raters whose mean score is above and below 0.
        p: two-sided sign test of these: as many raters on either side.
        left: mean over answers of the score of the left map, whichever model's it was, in [-2, 2]: 0 without a bias.
    """

    score: Interval
    images: int
    without_scores: int
    raters: tuple[int, int]
    p: float
    left: float


def model_comparison(
    answers: pd.DataFrame,
    images: Sequence[str],
    models: tuple[str, str],
    n_resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    over_raters: bool = True,
) -> Comparison:
    """Section 4.4: the score of the first of two models, whichever side it was shown on.

    Args:
        answers: columns `image`, `rater`, `left` (the model shown on the left, which the rater does not know) and
            `score`: +2 the left map is more dependable, +1 marginally so, 0 equally, -1 and -2 the right one.
        images: all that were shown.
        models: the two compared; the score is for the first.
        n_resamples, seed, level: of the bootstrap.
        over_raters: resample raters and images; else images alone, of these very raters.

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
    score = answers["score"].astype(float) * sign
    per_image = score.groupby(answers["image"], observed=True).mean()
    found = interval(per_image.to_numpy(), n_resamples, seed, level)
    if over_raters:
        table = answers.assign(score=score).pivot(index="rater", columns="image", values="score").to_numpy(float)
        found = Interval(found.mean, *percentiles(two_way_bootstrap_means(table, n_resamples, seed), level))
    per_rater = score.groupby(answers["rater"], observed=True).mean()
    above, below = int((per_rater > 0).sum()), int((per_rater < 0).sum())
    p = float(binomtest(above, above + below).pvalue) if above + below else 1.0
    left = float(answers["score"].astype(float).mean())
    return Comparison(found, len(per_image), len(images) - len(per_image), (above, below), p, left)


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
