"""DeConvolve, sections 3.4.2 and 4.3: an image's explanation by semantic averaging, and whether it is true.

Paper:      Meeradevi et al. 2025, sections 3.4.2 and 4.3.
Command:    make deconvolve-explanations
Reports:    three texts (an automobile that is classified wrongly, one that is classified rightly, an airplane) with the
            features for, against and neutral to the class; whether they agree with the network is not measured.
Cost:       a cell takes about 5 minutes on a CPU core; the trainings are shared with deconvolve/words.
Deviations: the averages are extractive and the words measured, unless a language model is chosen (`describer=openai
            averaging.by=model`). The size of the buckets is not given; ours are five of each sign, by quantile. Each
            text is of the first test image that fits, not the paper's. Whether 200 texts agree with the network, and
            the controls, are ours.
"""

from collections.abc import Sequence

import pandas as pd
import torch

from experiments.deconvolve.explanation_texts import explanations_summary, shown_text
from xcnn.data.tensors import scale
from xcnn.errors import UserError
from xcnn.evaluation.explanations import ImageExplanation, agreement, explain_image
from xcnn.evaluation.filters import FilterExplainer
from xcnn.evaluation.image_rows import with_intervals
from xcnn.evaluation.predictions import accuracy
from xcnn.evaluation.selection import ImageChoice, choose_image
from xcnn.evaluation.subject import networks
from xcnn.language.averaging import Average, LanguageModelAverage, extractive
from xcnn.language.chat import ChatDescriber
from xcnn.launch import Setup, launch
from xcnn.metrics.bootstrap import paired_difference
from xcnn.report import Cell, Measured, PaperNumber, Row, Summary

CONTROLS = {"sign": ("chance", "other", "live"), "rank": ("other", "live")}


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    run, settings, own = setup.trained(), options.averaging, options.agreement
    data = run.data
    explainer = FilterExplainer(run, settings.layer, setup.describer)
    average = averaging(setup, settings.by)

    def explained(choice: ImageChoice) -> ImageExplanation:
        return explain_image(explainer, choice, average, settings.epsilon, settings.buckets)

    texts = {}
    for name, label in options.texts.items():
        choice = choose_image([run.network], data, label, correct=name != "wrong")
        texts[name] = shown_text(choice, explained(choice))
    order = torch.randperm(len(data.test), generator=torch.Generator().manual_seed(options.seed))[: own.images]

    def rows(places: range) -> pd.DataFrame:
        found = []
        for index in order[places.start : places.stop].tolist():
            image = scale(data.test.images[index])
            with torch.inference_mode():
                probabilities = run.network(run.normalise(image[None])).softmax(1)[0]
            label, predicted = data.classes[data.test.labels[index]], data.classes[int(probabilities.argmax())]
            choice = ImageChoice(index, image, label, predicted, probabilities)
            generator = torch.Generator().manual_seed(index)
            found.append(agreement(explained(choice), explainer.split, own.draws, generator))
        return pd.DataFrame(found)

    values = beside_controls(cell.rows(len(order), options.chunk, rows))
    values |= {"accuracy": accuracy(run), "dead": explainer.activity.dead_share}
    details = {"texts": texts, "networks": networks(**{options.method: run})}
    return run.measured(values, len(order), details=details)


def averaging(setup: Setup, by: str) -> Average:
    """How sentences are put into one.

    Raises:
        UserError: a language model is to do it, and the describer has none.
    """
    if by == "model" and isinstance(setup.describer, ChatDescriber):
        return LanguageModelAverage(setup.describer)
    if by != "extractive":
        raise UserError(f"averaging.by={by}: extractive, or model with a language model: describer=openai.")
    return extractive


def beside_controls(rows: pd.DataFrame) -> dict[str, float]:
    """Means over images with the ends of their intervals, and the paired differences from the controls."""
    values = with_intervals(rows.drop(columns="image", errors="ignore"))
    pairs = [(name, f"{name}_{control}") for name, controls in CONTROLS.items() for control in controls]
    for first, second in [*pairs, ("fall_for", "fall_random"), ("rise_against", "rise_random")]:
        one = paired_difference(rows[first].to_numpy(), rows[second].to_numpy())
        ends = {"": one.mean, ".low": one.low, ".high": one.high}
        values |= {f"{first}-{second}{end}": float(value) for end, value in ends.items()}
    return values


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    return explanations_summary(rows)


if __name__ == "__main__":
    launch(__file__, measure, summarise)
