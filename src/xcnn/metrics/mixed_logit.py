"""A logit model of choices between two methods in which raters and images differ (a mixed logit with crossed effects).

Rater r chooses the first of two methods on image i with probability sigmoid(b + u_r + v_i), where u is normal with
standard deviation s over raters and v with t over images. b is the log-odds of a typical rater on a typical image. The
likelihood integrates u and v out by Laplace's approximation, as `glmer` of R's lme4 does; raters and images are few and
dense enough for the matrix of their effects to be reduced to the raters alone.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import t as student

from xcnn.errors import UserError

Floats = NDArray[np.float64]
STEPS, TOLERANCE = 50, 1e-8  # of Newton's method
BOUNDARY = 0.02  # a standard deviation below it is taken for 0, where the likelihood is flat in it
DIFFERENCE = 0.01  # of the second derivatives


@dataclass(frozen=True)
class MixedLogit:
    """What the model says.

    Args:
        log_odds: b, and the ends of its interval: Wald's, with the t distribution of raters - 1 degrees of freedom.
        rater_sd, image_sd: s and t, in logits.
        answers: number of answers behind it.
    """

    log_odds: tuple[float, float, float]
    rater_sd: float
    image_sd: float
    answers: int


def mixed_logit(wins: ArrayLike, answers: ArrayLike, level: float = 0.95) -> MixedLogit:
    """Fit the model by maximum likelihood.

    Args:
        wins: how often a rater chose the first of the two methods on an image: (raters, images).
        answers: how often the rater chose either of the two, 0 where never: (raters, images).
        level: of the interval.

    Raises:
        UserError: the shapes differ, fewer than two raters or images answered, or one of the methods was never chosen,
            so that the log-odds are infinite.
    """
    won, asked = np.asarray(wins, np.float64), np.asarray(answers, np.float64)
    if won.ndim != 2 or won.shape != asked.shape or (won < 0).any() or (won > asked).any():
        raise UserError(f"wins {won.shape} and answers {asked.shape} must be (raters, images), 0 <= wins <= answers.")
    some = asked > 0
    chosen, given = (table[some.any(1)][:, some.any(0)] for table in (won, asked))
    raters, images = chosen.shape
    if min(raters, images) < 2 or not 0 < chosen.sum() < given.sum():
        raise UserError(
            f"{raters} raters chose the first {chosen.sum():.0f} times of {given.sum():.0f} on {images} images: the "
            "model needs two raters and images, and each method to be chosen."
        )
    model = _Likelihood(chosen, given)
    share = chosen.sum() / given.sum()
    start = np.array([np.log(share / (1 - share)), 0.5, 0.5])
    found = minimize(model, start, method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-6, "maxiter": 1000})
    b, s, t = _parts(found.x)
    reach = _standard_error(model, np.array([b, s, t])) * float(student.ppf((1 + level) / 2, len(chosen) - 1))
    return MixedLogit((b, b - reach, b + reach), s, t, int(given.sum()))


def _parts(parameters: Floats) -> tuple[float, float, float]:
    """b, s and t; the search may give the standard deviations either sign."""
    b, s, t = parameters.tolist()
    return b, abs(s), abs(t)


class _Likelihood:
    """The negative log likelihood at (b, s, t); the effects' mode is kept to start the next search from.

    The effects are s x and t y with standard normal x, y, so that a standard deviation of 0 is a point like others.
    """

    def __init__(self, wins: Floats, answers: Floats):
        self.wins, self.answers = wins, answers
        self.x, self.y = np.zeros(wins.shape[0]), np.zeros(wins.shape[1])

    def __call__(self, parameters: Floats) -> float:
        b, s, t = _parts(parameters)
        x, y, value = self.x, self.y, self._value(b, s, t, self.x, self.y)
        for _ in range(STEPS):
            step_x, step_y, log_determinant = self._step(b, s, t, x, y)
            length = 1.0
            while (new := self._value(b, s, t, x + length * step_x, y + length * step_y)) > value and length > 1e-6:
                length /= 2
            x, y, change, value = x + length * step_x, y + length * step_y, value - new, new
            if change < TOLERANCE:
                break
        self.x, self.y = x, y
        return value + log_determinant / 2

    def _value(self, b: float, s: float, t: float, x: Floats, y: Floats) -> float:
        eta = b + s * x[:, None] + t * y
        logs = self.answers * np.logaddexp(0, eta) - self.wins * eta
        return float(logs.sum() + (x**2).sum() / 2 + (y**2).sum() / 2)

    def _step(self, b: float, s: float, t: float, x: Floats, y: Floats) -> tuple[Floats, Floats, float]:
        """Newton's step of both effects, and the logarithm of the determinant of the second derivatives.

        The images' block of that matrix is diagonal: eliminating it leaves a matrix of the raters' size.
        """
        p = expit(b + s * x[:, None] + t * y)
        rest, weight = self.wins - self.answers * p, self.answers * p * (1 - p)
        of_x, of_y = s * rest.sum(1) - x, t * rest.sum(0) - y
        beside, images = s * t * weight, 1 + t**2 * weight.sum(0)
        reduced = np.diag(1 + s**2 * weight.sum(1)) - (beside / images) @ beside.T
        step_x = np.linalg.solve(reduced, of_x - beside @ (of_y / images))
        step_y = (of_y - step_x @ beside) / images
        return step_x, step_y, float(np.log(images).sum() + np.linalg.slogdet(reduced)[1])


def _standard_error(model: _Likelihood, at: Floats) -> float:
    """Of b: by the second derivatives in b and in the standard deviations that are not 0, by central differences."""
    free = [0, *(place for place in (1, 2) if at[place] > BOUNDARY)]
    at = np.where(np.isin(np.arange(3), free), at, 0)
    units = DIFFERENCE * np.eye(3)[free]
    curvature = np.empty((len(free), len(free)))
    for i, one in enumerate(units):
        for k, other in enumerate(units):
            signs = ((1, 1), (1, -1), (-1, 1), (-1, -1))
            parts = [a * c * model(at + a * one + c * other) for a, c in signs]
            curvature[i, k] = sum(parts) / (4 * DIFFERENCE**2)
    return float(np.sqrt(np.linalg.inv(curvature)[0, 0]))
