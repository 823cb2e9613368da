"""Who sees what, in which order and on which side: balanced over raters and images, and random to each rater.

The images stand in one shuffled circle, round which the raters are led in turn, `per_rater` images each (a cyclic
incomplete block design): after any number of raters two images differ by at most one in how often they were shown, and
each further turn shows an image with its choices in another of their orders.
"""

import itertools
from collections.abc import Sequence

import numpy as np


def block(items: Sequence[int], number: int, per_rater: int, seed: int) -> list[tuple[int, int]]:
    """The items of rater `number` (0, 1, ...) in the order shown, each with the number of its order of choices.

    Args:
        items: ids of all images of the study.
        number: of the rater, in the order of consent.
        per_rater: images for each rater, at most all of them.
        seed: random seed of the study.
    """
    circle = np.random.default_rng(seed).permutation(items)
    places = number * per_rater + np.arange(per_rater)
    ranks, turns = places % len(circle), places // len(circle)
    shown = list(zip(circle[ranks].tolist(), (ranks + turns).tolist(), strict=True))
    return [shown[place] for place in np.random.default_rng([seed, number]).permutation(per_rater)]


def sides(choices: Sequence[str], order: int) -> list[str]:
    """The choices from left to right in their order of this number; all orders come in turn."""
    orders = list(itertools.permutations(choices))
    return list(orders[order % len(orders)])


def with_checks(shown: list[tuple[int, int]], checks: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The images with the attention checks between them, evenly spread."""
    found = list(shown)
    for k, check in reversed(list(enumerate(checks, start=1))):
        found.insert(k * len(shown) // (len(checks) + 1), check)
    return found
