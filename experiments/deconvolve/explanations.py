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

import torch

from experiments.deconvolve.explanations_page import summarise
from xcnn.evaluation.explanations import (
    ImageExplanation,
    agreement_rows,
    averaging,
    beside_controls,
    explain_image,
    text_record,
)
from xcnn.evaluation.filters import FilterExplainer
from xcnn.evaluation.predictions import accuracy
from xcnn.evaluation.selection import ImageChoice, choose_image
from xcnn.evaluation.subject import networks
from xcnn.launch import Setup, launch
from xcnn.report import Cell, Measured


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    run, settings, own = setup.trained(), options.averaging, options.agreement
    explainer = FilterExplainer(run, settings.layer, setup.describer)
    average = averaging(setup.describer, settings.by)

    def explained(choice: ImageChoice) -> ImageExplanation:
        return explain_image(explainer, choice, average, settings.epsilon, settings.buckets)

    texts = {}
    for name, label in options.texts.items():
        choice = choose_image([run.network], run.data, label, correct=name != "wrong")
        texts[name] = text_record(choice, explained(choice))
    order = torch.randperm(len(run.data.test), generator=torch.Generator().manual_seed(options.seed))[: own.images]
    rows = agreement_rows(cell, explainer, run, explained, order, own.draws, options.chunk)
    values = beside_controls(rows) | {"accuracy": accuracy(run), "dead": explainer.activity.dead_share}
    details = {"texts": texts, "networks": networks(**{options.method: run})}
    return run.measured(values, len(order), details=details)


if __name__ == "__main__":
    launch(__file__, measure, summarise)
