"""Pixel Ablation-CAM, section 4.3: which method's map do people choose, and how sure can the paper's votes be?

Paper:      Samanta et al. 2025, section 4.3.
Command:    make pixel-ablation-cam-human-study
Reports:    15 raters, 250 images: 115.75 for Pixel Ablation-CAM, 78.50 for Ablation-CAM, 40.25 for Grad-CAM, 15.50
            "same"; "outperformed in about 49.35 % of the cases".
Cost:       13 cells of simulated studies, a quarter of an hour on a CPU core, 1 GB; the people's answers in seconds.
Deviations: nobody was asked here. The paper's totals are analysed in place of its votes, which are not published: what
            lies behind them is simulated, with raters who differ by a known amount. People are asked by `make study`;
            `sweep=people votes.file=FILE` then measures their answers, with intervals over raters and images. Votes of
            the explorer are beside them with votes.study=[maps,explorer]: in Luce's strengths and the mixed logit,
            which take any of the methods as shown, and not in the scores, which are of the planned study.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xcnn.apps.study.votes import read_votes, votes_file
from xcnn.errors import UserError
from xcnn.fingerprint import file_hash, fingerprint
from xcnn.launch import Setup, launch
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
from xcnn.report import Cell, Measured, PaperNumber, Row, Summary, claim

IMAGES = 250  # of the paper, to which our scores are scaled
PIXEL, ABLATION, GRAD = "pixel_ablation_cam", "ablation_cam", "grad_cam"
PEOPLE, SIMULATED = "people", "simulated_raters"


def measure(setup: Setup, cell: Cell) -> Measured:
    return people(setup) if setup.options.source == PEOPLE else simulated(setup)


def people(setup: Setup) -> Measured:
    """The score of one choice among the answers of people."""
    options = setup.options
    file = votes_file(options.votes.file)
    studies = [options.votes.study] if isinstance(options.votes.study, str) else options.votes.study
    read = [read_votes(file, study) for study in studies]
    answers, images = read[0]
    votes = votes_by_rater(answers, images, options.methods)
    found, counts = preferences(votes, options.methods), votes.sum(0)
    scale = IMAGES / found.maximum
    score = found.totals[options.answers]
    values = {name: scale * float(end) for name, end in zip(("score", "score.low", "score.high"), score, strict=True)}
    values |= {"raters": len(votes), "kappa": fleiss_kappa(counts), "alpha": krippendorff_alpha(counts)}
    # A rater or an image of one study is none of another's.
    together = pd.concat(
        table.assign(**{name: f"{study}:" + table[name].astype(str) for name in ("rater", "image")})
        for study, (table, _) in zip(studies, read, strict=True)
    )
    if options.answers == PIXEL:
        values |= leads_of(votes, options.methods) | odds_of(together, options.methods)
    if options.answers != SAME:
        names = ("share", "share.low", "share.high")
        values |= {name: 100 * float(end) for name, end in zip(names, found.shares[options.answers], strict=True)}
        chosen, shown, _ = chosen_of_shown(together, options.methods)
        strengths = luce_strengths(chosen, shown)
        values["strength"] = float(strengths[options.methods.index(options.answers)])
        values["strength.answers"] = len(chosen)
    data = {"name": "answers of people", "manifest": file_hash(file)}
    return Measured(values, found.maximum, data)


def leads_of(votes: NDArray[np.int64], methods: Sequence[str]) -> dict[str, float]:
    """Pixel Ablation-CAM's score less each other method's, paired in the resamples of raters and images."""
    given = np.where(votes.sum(2, keepdims=True) > 0, votes, np.nan)[:, votes.any((0, 2))]
    scores, resampled = IMAGES * np.nanmean(given, 0).mean(0), IMAGES * two_way_bootstrap_means(given)
    pixel, values = methods.index(PIXEL), dict[str, float]()
    for place, other in enumerate(methods):
        if other != PIXEL:
            low, high = percentiles(resampled[:, pixel] - resampled[:, place])
            found = (scores[pixel] - scores[place], low, high)
            values |= {
                f"score.less_{other}{end}": float(v) for end, v in zip(("", "_low", "_high"), found, strict=True)
            }
    return values


def odds_of(answers: pd.DataFrame, methods: Sequence[str]) -> dict[str, float]:
    """Log-odds of Pixel Ablation-CAM's map over each other method's, with raters and images as random effects."""
    values = dict[str, float]()
    for other in methods:
        if other != PIXEL:
            try:
                found = mixed_logit(*head_to_head(answers, PIXEL, other))
            except UserError:  # too few answers for the model, or all alike
                continue
            parts = (*found.log_odds, found.rater_sd, found.image_sd, found.answers)
            names = ("", "_low", "_high", "_rater_sd", "_image_sd", "_answers")
            values |= {f"log_odds.over_{other}{end}": float(v) for end, v in zip(names, parts, strict=True)}
    return values


def simulated(setup: Setup) -> Measured:
    """Many studies whose raters have a known preference: how far their results scatter, and what intervals cover."""
    options = setup.options
    preference = np.array(options.printed) / sum(options.printed)
    if options.answers == "without_preference":
        preference[:-1] = preference[:-1].mean()
    choices = [*options.methods, SAME]
    share = np.eye(len(choices))
    leads = {"share": share[choices.index(PIXEL)]}
    leads["lead"] = leads["share"] - share[choices.index(ABLATION)]
    design = Design(**options.designs[options.design])
    logits = logits_of(preference, options.rater_sd, options.image_sd)
    found = simulate(
        logits,
        np.array(list(leads.values())),
        design,
        options.rater_sd,
        options.image_sd,
        options.studies,
        options.n_resamples,
        options.seed,
    )
    low, high = percentiles(found.estimates)
    values = {"raters": design.raters, "images": design.images, "answers": design.images * design.per_image}
    for place, name in enumerate(leads):
        values |= {name: 100 * found.truth[place], f"{name}.low": 100 * low[place], f"{name}.high": 100 * high[place]}
        for kind, intervals in (("images", found.over_images), ("both", found.over_both)):
            values[f"{name}.covered_{kind}"] = 100 * covers(intervals, found.truth)[place]
            values[f"{name}.width_{kind}"] = 100 * width(intervals)[place]
            values[f"{name}.told_{kind}"] = 100 - 100 * covers(intervals, np.zeros(len(leads)))[place]
    return Measured(values, design.images, {"name": "simulated raters", "manifest": fingerprint(options.printed)})


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    asked = [row for row in rows if row.dataset == PEOPLE]
    totals = {number.row: number.value for number in paper if number.metric == "score"}
    methods = sum(totals.values()) - totals[SAME]
    facts = {
        "totals": totals,
        "total": sum(totals.values()),
        "share": 100 * totals[PIXEL] / methods,
        "fifteenths": {name: 15 * value for name, value in totals.items()},
        "fourths": {name: round(4 * value) for name, value in totals.items()},
        "readings": [row for row in rows if row.method == "as_printed" and str(of(row, "design")).startswith("paper")],
        "controls": [row for row in rows if row.method == "without_preference"],
        "sizes": [row for row in rows if row.method == "as_printed" and of(row, "rater_sd") == 0.5],
        "asked": asked,
        "of": of,
        "claim_digits": 2,
    }
    claims = [claim(rows, "score", PIXEL, other, "higher", PEOPLE) for other in (ABLATION, GRAD)]
    return Summary(
        "Pixel Ablation-CAM, section 4.3: human study of three methods",
        claims=claims,
        verdict=None if asked else "not run",
        facts=facts,
    )


def of(row: Row, name: str) -> str | float:
    """A setting of a row's cells."""
    found: str | float = row.records[0]["settings"][name]
    return found


if __name__ == "__main__":
    launch(__file__, measure, summarise)
