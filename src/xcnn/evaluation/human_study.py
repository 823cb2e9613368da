"""What raters say of maps: scores, leads and odds of people's answers, and what simulated studies bear."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xcnn.errors import UserError
from xcnn.metrics.bootstrap import percentiles, two_way_bootstrap_means
from xcnn.metrics.human_study import (
    SAME,
    chosen_of_shown,
    fleiss_kappa,
    head_to_head,
    krippendorff_alpha,
    luce_strengths,
    preferences,
    votes_by_rater,
)
from xcnn.metrics.mixed_logit import mixed_logit
from xcnn.metrics.simulated_raters import Design, covers, logits_of, simulate, width

IMAGES = 250  # of Pixel Ablation-CAM's study, to which scores are scaled


def choice_values(
    read: Mapping[str, tuple[pd.DataFrame, Sequence[str]]], methods: Sequence[str], counted: str, first: str
) -> tuple[dict[str, float], int]:
    """The score of one choice, the raters' agreement, and what Luce's and the mixed logit model make of the choices.

    Args:
        read: answers and images by study; scores are of the first, the models of all.
        methods: whose maps were shown.
        counted: the choice whose score it is, a method or "same".
        first: method whose leads and odds over each other stand with its own score.

    Returns:
        Values, and the greatest score that there could be, in images.
    """
    answers, images = next(iter(read.values()))
    votes = votes_by_rater(answers, images, methods)
    found, counts = preferences(votes, methods), votes.sum(0)
    scale = IMAGES / found.maximum
    score = found.totals[counted]
    values = {name: scale * float(end) for name, end in zip(("score", "score.low", "score.high"), score, strict=True)}
    values |= {"raters": len(votes), "kappa": fleiss_kappa(counts), "alpha": krippendorff_alpha(counts)}
    # A rater or an image of one study is none of another's.
    together = pd.concat(
        table.assign(**{name: f"{study}:" + table[name].astype(str) for name in ("rater", "image")})
        for study, (table, _) in read.items()
    )
    if counted == first:
        values |= leads_of(votes, methods, first) | odds_of(together, methods, first)
    if counted != SAME:
        names = ("share", "share.low", "share.high")
        values |= {name: 100 * float(end) for name, end in zip(names, found.shares[counted], strict=True)}
        chosen, shown, _ = chosen_of_shown(together, methods)
        strengths = luce_strengths(chosen, shown)
        values["strength"] = float(strengths[methods.index(counted)])
        values["strength.answers"] = len(chosen)
    return values, found.maximum


def leads_of(votes: NDArray[np.int64], methods: Sequence[str], first: str) -> dict[str, float]:
    """A method's score less each other method's, paired in the resamples of raters and images."""
    given = np.where(votes.sum(2, keepdims=True) > 0, votes, np.nan)[:, votes.any((0, 2))]
    scores, resampled = IMAGES * np.nanmean(given, 0).mean(0), IMAGES * two_way_bootstrap_means(given)
    own, values = methods.index(first), dict[str, float]()
    for place, other in enumerate(methods):
        if other != first:
            low, high = percentiles(resampled[:, own] - resampled[:, place])
            found = (scores[own] - scores[place], low, high)
            values |= {
                f"score.less_{other}{end}": float(v) for end, v in zip(("", "_low", "_high"), found, strict=True)
            }
    return values


def odds_of(answers: pd.DataFrame, methods: Sequence[str], first: str) -> dict[str, float]:
    """Log-odds of a method's map over each other method's, with raters and images as random effects."""
    values = dict[str, float]()
    for other in methods:
        if other != first:
            try:
                found = mixed_logit(*head_to_head(answers, first, other))
            except UserError:  # too few answers for the model, or all alike
                continue
            parts = (*found.log_odds, found.rater_sd, found.image_sd, found.answers)
            names = ("", "_low", "_high", "_rater_sd", "_image_sd", "_answers")
            values |= {f"log_odds.over_{other}{end}": float(v) for end, v in zip(names, parts, strict=True)}
    return values


def simulated_values(
    preferred: Mapping[str, float],
    first: str,
    second: str,
    design: Design,
    rater_sd: float,
    image_sd: float,
    studies: int,
    n_resamples: int,
    seed: int,
) -> dict[str, float]:
    """How far results of simulated studies scatter, and what their intervals cover, all in % of the answers.

    Args:
        preferred: share of the answers that each choice has on the whole.
        first, second: choices; measured are the share of the first (`share`) and its lead over the second (`lead`).
        design: raters, images and answers of a study.
        rater_sd, image_sd: standard deviations of the raters' and of the images' own logits for each choice.
        studies, n_resamples, seed: as of `simulate`.

    Returns:
        Of both, the truth, the middle 95 % of the estimates (`.low`, `.high`) and, of intervals over images alone
        (`_images`) and over raters and images (`_both`), how often they hold the truth (`.covered`), how wide they are
        (`.width`), and how often they leave out 0 (`.told`).
    """
    choices, share = list(preferred), np.eye(len(preferred))
    leads = {"share": share[choices.index(first)]}
    leads["lead"] = leads["share"] - share[choices.index(second)]
    logits = logits_of(np.array(list(preferred.values())), rater_sd, image_sd)
    contrasts = np.array(list(leads.values()))
    found = simulate(logits, contrasts, design, rater_sd, image_sd, studies, n_resamples, seed)
    low, high = percentiles(found.estimates)
    values: dict[str, float] = {
        "raters": design.raters,
        "images": design.images,
        "answers": design.images * design.per_image,
    }
    for place, name in enumerate(leads):
        values |= {name: 100 * found.truth[place], f"{name}.low": 100 * low[place], f"{name}.high": 100 * high[place]}
        for kind, intervals in (("images", found.over_images), ("both", found.over_both)):
            values[f"{name}.covered_{kind}"] = 100 * covers(intervals, found.truth)[place]
            values[f"{name}.width_{kind}"] = 100 * width(intervals)[place]
            values[f"{name}.told_{kind}"] = 100 - 100 * covers(intervals, np.zeros(len(leads)))[place]
    return values
