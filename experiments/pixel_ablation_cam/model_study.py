"""Pixel Ablation-CAM, section 4.4: which of two networks' maps do people trust more, and how sure can that be?

Paper:      Samanta et al. 2025, section 4.4.
Command:    make pixel-ablation-cam-model-study
Reports:    1.48 for ResNet-50 against VGG-16, on a scale from -2 to 2, by 15 raters.
Cost:       6 cells of simulated studies, five minutes on a CPU core, 1 GB; the people's answers in seconds.
Deviations: nobody was asked here. The paper prints one number, no images' number and no spread: what may lie behind it
            is simulated, on 250 images as in section 4.3. People are asked by `make study`, with a study of `--kind
            models`; `sweep=people votes.file=FILE` then measures their answers.
"""

from collections.abc import Sequence

from xcnn.apps.study.votes import read_votes, votes_file
from xcnn.fingerprint import file_hash, fingerprint
from xcnn.launch import Setup, launch
from xcnn.metrics.bootstrap import percentiles
from xcnn.metrics.human_study import model_comparison
from xcnn.metrics.simulated_raters import Design, covers, simulate_scores, width
from xcnn.report import Cell, Measured, PaperNumber, Row, Summary

PEOPLE = "people"


def measure(setup: Setup, cell: Cell) -> Measured:
    return people(setup) if setup.options.source == PEOPLE else simulated(setup)


def people(setup: Setup) -> Measured:
    """The mean score of people for the first of two models."""
    options = setup.options
    file = votes_file(options.votes.file)
    answers, images = read_votes(file, options.votes.study)
    found = model_comparison(answers, images, tuple(options.models))
    names = ("score", "score.low", "score.high")
    values = {name: float(end) for name, end in zip(names, found.score, strict=True)}
    above, below = found.raters
    values |= {"raters_above": above, "raters_below": below, "p": found.p, "left": found.left}
    return Measured(values, found.images, {"name": "answers of people", "manifest": file_hash(file)})


def simulated(setup: Setup) -> Measured:
    """Many studies of the printed mean: how far their means scatter, and what intervals cover."""
    options = setup.options
    design = Design(options.raters, options.images, options.raters)
    spreads = (options.rater_sd, options.image_sd, options.answer_sd)
    found = simulate_scores(options.printed, design, *spreads, options.studies, options.n_resamples, options.seed)
    low, high = percentiles(found.estimates)
    values = {"raters": design.raters, "scatter_low": low[0], "scatter_high": high[0]}
    for kind, intervals in (("images", found.over_images), ("both", found.over_both)):
        values[f"covered_{kind}"] = 100 * covers(intervals, found.truth)[0]
        values[f"width_{kind}"] = width(intervals)[0]
    data = {"name": "simulated raters", "manifest": fingerprint(options.printed)}
    return Measured(values, design.images, data)


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    asked = [row for row in rows if row.dataset == PEOPLE]
    simulated = [row for row in rows if row.dataset != PEOPLE]
    simulated.sort(key=lambda row: (row.mean["raters"], row.records[0]["n"], row.settings["rater_sd"]))
    mean = paper[0].value
    facts = {
        "asked": asked,
        "simulated": simulated,
        "mean": mean,
        "least_above": 100 * mean / 2,  # all of these +2, all others 0
        "least_best": 100 * (mean - 1),  # all others +1
    }
    title = "Pixel Ablation-CAM, section 4.4: human study of two networks"
    return Summary(title, verdict=None if asked else "not run", facts=facts)


if __name__ == "__main__":
    launch(__file__, measure, summarise)
