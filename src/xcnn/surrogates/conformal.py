"""Split-conformal prediction sets: classes enough that the true one is among them as often as was asked for.

Scores of how ill a class fits an image are compared with their quantile on calibration images. Where images to come are
exchangeable with those, a set holds the true class with probability 1 - alpha at least, whatever the network.
"""

import math
from typing import Any, Literal, Self, get_args

import numpy as np
import torch
from scipy.stats import betabinom
from torch import Tensor

from xcnn.errors import UserError

Score = Literal["lac", "aps", "raps"]
FITTED, PREDICTED = 0, 1  # streams of the random numbers of calibration images and of images to come


class ConformalSets:
    """Prediction sets from class probabilities.

    With the classes in falling order of probability p, the r-th being y, and u uniform in [0, 1), the score of y is

    - LAC (Sadinle et al. 2019): 1 - p_y;
    - APS (Romano et al. 2020): the sum of the probabilities before y, plus u p_y;
    - RAPS (Angelopoulos et al. 2021): that of APS, plus penalty * max(0, r - rank).

    A set has the classes whose score is at most the ceil((n + 1)(1 - alpha))-th smallest of the scores that n
    calibration images give to their own classes. It may be empty: where u is small for all that the image would need.

    Args:
        score: `lac`, `aps` or `raps`.
        alpha: share of the images whose set may lack their class, in (0, 1).
        by_class: a quantile for each class, of its calibration images alone, so that the promise holds class by class.
        penalty: RAPS's weight of the ranks.
        rank: RAPS's rank from which on they are penalised.
        seed: random seed of u.

    Attributes:
        threshold_: (classes,) float64; the same for all unless `by_class`.

    Raises:
        UserError: an unknown score, alpha outside (0, 1), or a negative penalty or rank.
    """

    def __init__(
        self,
        score: Score = "aps",
        alpha: float = 0.1,
        by_class: bool = False,
        penalty: float = 0.01,
        rank: int = 5,
        seed: int = 0,
    ):
        if score not in get_args(Score):
            raise UserError(f"unknown score {score!r}; there are: {', '.join(get_args(Score))}.")
        if not 0 < alpha < 1:
            raise UserError(f"alpha is the share of sets that may lack their class: choose it in (0, 1), not {alpha}.")
        if penalty < 0 or rank < 0:
            raise UserError(f"penalty and rank must be at least 0, not {penalty} and {rank}.")
        self.score, self.alpha, self.by_class, self.seed = score, alpha, by_class, seed
        self.penalty, self.rank = (penalty, rank) if score == "raps" else (0.0, 0)
        self.threshold_: Tensor | None = None

    def fit(self, probabilities: Tensor, labels: Tensor) -> Self:
        """Calibrate on probabilities (N, classes) and labels (N,).

        Raises:
            UserError: probabilities that are none, labels that do not fit them, or too few images for alpha.
        """
        scores = self.scores(probabilities, FITTED)
        check_labels(labels, scores)
        own = scores.gather(1, labels[:, None])[:, 0]
        if not self.by_class:
            self.threshold_ = threshold(own, self.alpha).expand(scores.shape[1])
            return self
        found = []
        for label in range(scores.shape[1]):
            members = own[labels == label]
            try:
                found.append(threshold(members, self.alpha))
            except UserError as error:
                raise UserError(f"class {label}: {error}") from error
        self.threshold_ = torch.stack(found)
        return self

    def predict(self, probabilities: Tensor) -> Tensor:
        """Sets of images with these probabilities, (N, classes) -> (N, classes) bool.

        Raises:
            UserError: nothing was calibrated yet, or for another number of classes.
        """
        if self.threshold_ is None:
            raise UserError("the sets are not calibrated yet: call fit(probabilities, labels) first.")
        scores = self.scores(probabilities, PREDICTED)
        if scores.shape[1] != len(self.threshold_):
            raise UserError(f"calibrated on {len(self.threshold_)} classes, asked for {scores.shape[1]}: fit anew.")
        return scores <= self.threshold_

    def scores(self, probabilities: Tensor, stream: int = FITTED) -> Tensor:
        """Scores (N, classes) float64 of all classes.

        Args:
            probabilities: (N, classes), each row's sum 1.
            stream: of the random numbers; image i of a stream has the same u in every call.
        """
        check_probabilities(probabilities)
        probabilities = probabilities.double()
        if self.score == "lac":
            return 1 - probabilities
        ordered, order = probabilities.sort(dim=1, descending=True, stable=True)
        u = np.random.default_rng((self.seed, stream)).random(len(ordered))
        scores = ordered.cumsum(1) - ordered * (1 - torch.from_numpy(u).to(ordered.device)[:, None])
        ranks = torch.arange(1, ordered.shape[1] + 1, device=ordered.device)
        scores += self.penalty * (ranks - self.rank).clamp(min=0)
        return torch.empty_like(scores).scatter_(1, order, scores)


def threshold(scores: Tensor, alpha: float) -> Tensor:
    """The ceil((n + 1)(1 - alpha))-th smallest of n scores, as a scalar.

    Raises:
        UserError: there are fewer than 1 / alpha - 1 scores, so that only the set of all classes would do.
    """
    place = covered_rank(len(scores), alpha)
    if place > len(scores):
        fewest = math.ceil(1 / alpha - 1e-9) - 1
        raise UserError(
            f"{len(scores)} calibration images cannot tell of {alpha:g}: give at least {fewest} (1 / alpha - 1), or a "
            "larger alpha."
        )
    return scores.kthvalue(place).values


def covered_rank(n: int, alpha: float) -> int:
    """ceil((n + 1)(1 - alpha)), but for what floating point adds to a whole number."""
    return math.ceil((n + 1) * (1 - alpha) - 1e-9)


def coverage_law(n_calibration: int, n_test: int, alpha: float) -> Any:
    """The distribution of how many of `n_test` sets hold their class, as SciPy's beta-binomial.

    Exact for exchangeable images whose scores differ: with k = ceil((n + 1)(1 - alpha)), the k-th smallest of n scores
    exceeds a share of further ones that is Beta(k, n + 1 - k) (Vovk 2012). It holds as well of random halves of one
    given data set, whose images are drawn without replacement: the beta-binomial of whole numbers is the negative
    hypergeometric distribution.
    """
    place = covered_rank(n_calibration, alpha)
    return betabinom(n_test, place, n_calibration + 1 - place)


def coverage_band(
    n_calibration: int, n_test: int, alpha: float, splits: int = 1, level: float = 0.95
) -> tuple[float, float]:
    """The central interval of the mean coverage of independent splits, from the exact distribution.

    Args:
        splits: number of splits that the mean is over; their sum's distribution is the convolution of theirs.
        level: probability inside, at least.
    """
    own = coverage_law(n_calibration, n_test, alpha).pmf(np.arange(n_test + 1))
    length = splits * n_test + 1
    total = np.fft.irfft(np.fft.rfft(own, length) ** splits, length).clip(0).cumsum()
    low, high = np.searchsorted(total, [(1 - level) / 2, (1 + level) / 2])
    return float(low / (splits * n_test)), float(high / (splits * n_test))


def check_probabilities(probabilities: Tensor) -> None:
    """Raises UserError for what is not (N, classes) of probabilities."""
    if probabilities.ndim != 2 or not len(probabilities):
        raise UserError(f"probabilities are (N, classes) with N at least 1, not {tuple(probabilities.shape)}.")
    apart = (probabilities.double().sum(1) - 1).abs().max()
    if not apart <= 1e-3 or probabilities.min() < 0:
        raise UserError("the rows are no probabilities (their sums are not 1, or some are below 0): pass softmax(1).")


def check_labels(labels: Tensor, probabilities: Tensor) -> None:
    """Raises UserError for labels that are not one for each row, or not of a column."""
    n, classes = probabilities.shape
    if labels.shape != (n,) or int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise UserError(f"give a label in 0..{classes - 1} for each of the {n} images.")
