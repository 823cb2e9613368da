"""Simulated raters of known preference: the control of a human study's analysis, and its power before anybody is asked.

A rater r chooses c of an image i with probability softmax over c of (a_c + rater_sd u_rc + image_sd v_ic), u and v
standard normal (a mixed logit with crossed effects). The preference that a study estimates is the mean of that over
raters and images; `logits_of` finds the a_c for a wanted one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from xcnn.errors import UserError
from xcnn.metrics.bootstrap import bootstrap_means, percentiles, two_way_bootstrap_means
from xcnn.metrics.human_study import SCORES

DRAWS = 20_000  # of raters and images, over which a preference is averaged


@dataclass(frozen=True)
class Design:
    """How many answers a study has.

    Args:
        raters, images: numbers of them.
        per_image: raters asked of each image, drawn at random, as evenly as chance has it.
        answered: probability that an answer is not missing, in (0, 1].
    """

    raters: int
    images: int
    per_image: int
    answered: float = 1.0

    def __post_init__(self) -> None:
        if not (1 <= self.per_image <= self.raters and self.images >= 1 and 0 < self.answered <= 1):
            raise UserError(f"{self} is no study: per_image must be in 1..raters, and answered in (0, 1].")


def logits_of(preference: NDArray[np.float64], rater_sd: float, image_sd: float, seed: int = 0) -> NDArray[np.float64]:
    """The a_c (choices,) of mean 0 for which the choices have this preference (choices,), all above 0, sum 1."""
    noise = _noise(len(preference), rater_sd, image_sd, seed)
    logits = np.log(preference)
    for _ in range(200):
        logits += np.log(preference) - np.log(_softmax(logits + noise).mean(0))
    found: NDArray[np.float64] = logits - logits.mean()
    return found


def preference_of(logits: NDArray[np.float64], rater_sd: float, image_sd: float, seed: int = 0) -> NDArray[np.float64]:
    """The preference (choices,) that these a_c have, averaged over raters and images."""
    found: NDArray[np.float64] = _softmax(logits + _noise(len(logits), rater_sd, image_sd, seed)).mean(0)
    return found


def simulated_votes(
    logits: NDArray[np.float64],
    design: Design,
    rater_sd: float,
    image_sd: float,
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    """The votes of one study, as `votes_by_rater` has them: (raters, images, choices)."""
    n = design.raters, design.images, len(logits)
    of_raters = rater_sd * generator.standard_normal((n[0], 1, n[2]))
    of_images = image_sd * generator.standard_normal((1, n[1], n[2]))
    chosen = (logits + of_raters + of_images + generator.gumbel(size=n)).argmax(2)
    return np.eye(n[2], dtype=np.int64)[chosen] * _asked(design, generator)[..., None]


@dataclass(frozen=True)
class Simulation:
    """What many simulated studies find; each entry is for a contrast (a share, or the lead of one over another).

    Args:
        truth: the contrast in the population, (contrasts,).
        estimates: (studies, contrasts).
        over_images, over_both: intervals over images, and over raters and images: (studies, contrasts, 2).
    """

    truth: NDArray[np.float64]
    estimates: NDArray[np.float64]
    over_images: NDArray[np.float64]
    over_both: NDArray[np.float64]


def covers(intervals: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of studies whose interval (studies, contrasts, 2) holds the truth (contrasts,): (contrasts,)."""
    return ((intervals[..., 0] <= truth) & (truth <= intervals[..., 1])).mean(0)


def width(intervals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean width of the studies' intervals (studies, contrasts, 2): (contrasts,)."""
    return (intervals[..., 1] - intervals[..., 0]).mean(0)


def simulate(
    logits: NDArray[np.float64],
    contrasts: NDArray[np.float64],
    design: Design,
    rater_sd: float,
    image_sd: float,
    studies: int,
    n_resamples: int = 400,
    seed: int = 0,
) -> Simulation:
    """Many studies of the same design, each with its raters and images, and both kinds of interval.

    Args:
        logits: the a_c, (choices,).
        contrasts: weights of the choices' shares, (contrasts, choices): (1, 0, 0, 0) is the first one's share, and
            (1, -1, 0, 0) its lead over the second.
        design: of each study.
        rater_sd, image_sd: standard deviations of the raters' and the images' own logits.
        studies: number of studies.
        n_resamples: of each bootstrap.
        seed: random seed of all of it.
    """
    generator = np.random.default_rng(seed)
    truth = contrasts @ preference_of(logits, rater_sd, image_sd)
    estimates, intervals = [], []
    for study in range(studies):
        votes = simulated_votes(logits, design, rater_sd, image_sd, generator)
        given = np.where(votes.sum(2, keepdims=True) > 0, votes, np.nan)
        found = _analysed(given, contrasts, n_resamples, study)
        estimates.append(found[0])
        intervals.append(found[1])
    over = np.array(intervals)
    return Simulation(truth, np.array(estimates), over[:, 0], over[:, 1])


def simulate_scores(
    mean: float,
    design: Design,
    rater_sd: float,
    image_sd: float,
    answer_sd: float,
    studies: int,
    n_resamples: int = 400,
    seed: int = 0,
) -> Simulation:
    """Likewise for scores of a known mean: rounded and kept in -2..2, of a normal with crossed effects.

    Args:
        mean: of the scores in the population, in (-2, 2).
        design: of each study.
        rater_sd, image_sd, answer_sd: standard deviations of the raters, the images and the single answers, before
            the score is rounded.
        studies, n_resamples, seed: as for `simulate`.
    """
    wanted = np.hypot(np.hypot(rater_sd, image_sd), answer_sd)
    noise = wanted * np.random.default_rng(seed).standard_normal(10 * DRAWS)
    centre = brentq(lambda level: _score(level + noise).mean() - mean, -20, 20)
    generator = np.random.default_rng(seed)
    n = design.raters, design.images
    estimates, intervals = [], []
    for study in range(studies):
        effects = rater_sd * generator.standard_normal((n[0], 1)) + image_sd * generator.standard_normal((1, n[1]))
        scores = _score(centre + effects + answer_sd * generator.standard_normal(n))
        scores[~_asked(design, generator)] = np.nan
        found = _analysed(scores[..., None], np.ones((1, 1)), n_resamples, study)
        estimates.append(found[0])
        intervals.append(found[1])
    over = np.array(intervals)
    return Simulation(np.array([mean]), np.array(estimates), over[:, 0], over[:, 1])


def _analysed(
    given: NDArray[np.float64], contrasts: NDArray[np.float64], n_resamples: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Contrasts of answers (raters, images, columns), NaN where missing, and both intervals, (2, contrasts, 2)."""
    given = given[:, ~np.isnan(given).all((0, 2))]
    per_image = np.nanmean(given, 0)
    resampled = bootstrap_means(per_image, n_resamples, seed), two_way_bootstrap_means(given, n_resamples, seed)
    ends = [np.stack(percentiles(each @ contrasts.T), -1) for each in resampled]
    return contrasts @ per_image.mean(0), np.array(ends)


def _asked(design: Design, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Which rater answers which image: (raters, images)."""
    n = design.raters, design.images
    asked = generator.random(n).argsort(0).argsort(0) < design.per_image
    return asked & (generator.random(n) < design.answered)


def _score(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(np.rint(values), SCORES[0], SCORES[-1])


def _noise(choices: int, rater_sd: float, image_sd: float, seed: int) -> NDArray[np.float64]:
    return np.hypot(rater_sd, image_sd) * np.random.default_rng(seed).standard_normal((DRAWS, choices))


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    found: NDArray[np.float64] = powers / powers.sum(-1, keepdims=True)
    return found
