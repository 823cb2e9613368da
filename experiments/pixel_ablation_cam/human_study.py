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

from xcnn.apps.study.votes import read_votes, votes_file
from xcnn.evaluation.human_study import choice_values, simulated_values
from xcnn.fingerprint import file_hash, fingerprint
from xcnn.launch import Setup, launch
from xcnn.metrics.human_study import SAME
from xcnn.metrics.simulated_raters import Design
from xcnn.report import Cell, Measured, PaperNumber, Row, Summary, claim

PIXEL, ABLATION, GRAD = "pixel_ablation_cam", "ablation_cam", "grad_cam"
PEOPLE = "people"


def measure(setup: Setup, cell: Cell) -> Measured:
    return people(setup) if setup.options.source == PEOPLE else simulated(setup)


def people(setup: Setup) -> Measured:
    """The score of one choice among the answers of people."""
    options, file = setup.options, votes_file(setup.options.votes.file)
    studies = [options.votes.study] if isinstance(options.votes.study, str) else options.votes.study
    read = {study: read_votes(file, study) for study in studies}
    values, n = choice_values(read, options.methods, options.answers, PIXEL)
    return Measured(values, n, {"name": "answers of people", "manifest": file_hash(file)})


def simulated(setup: Setup) -> Measured:
    """Many studies whose raters have a known preference: how far their results scatter, and what intervals cover."""
    options, design = setup.options, Design(**setup.options.designs[setup.options.design])
    preference = np.array(options.printed) / sum(options.printed)
    if options.answers == "without_preference":
        preference[:-1] = preference[:-1].mean()
    preferred = dict(zip([*options.methods, SAME], preference.tolist(), strict=True))
    amounts = {name: options[name] for name in ("rater_sd", "image_sd", "studies", "n_resamples", "seed")}
    values = simulated_values(preferred, PIXEL, ABLATION, design, **amounts)
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
        "readings": [row for row in rows if row.method == "as_printed" and row.settings["design"].startswith("paper")],
        "controls": [row for row in rows if row.method == "without_preference"],
        "sizes": [row for row in rows if row.method == "as_printed" and row.settings["rater_sd"] == 0.5],
        "asked": asked,
        "claim_digits": 2,
    }
    claims = [claim(rows, "score", PIXEL, other, "higher", PEOPLE) for other in (ABLATION, GRAD)]
    title = "Pixel Ablation-CAM, section 4.3: human study of three methods"
    return Summary(title, claims=claims, verdict=None if asked else "not run", facts=facts)


if __name__ == "__main__":
    launch(__file__, measure, summarise)
