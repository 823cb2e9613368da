"""DeConvolve, section 4.1: do the words about a filter become more relevant with the loss?

Paper:      Meeradevi et al. 2025, section 4.1 and table 1.
Command:    make deconvolve-words
Reports:    "the immediate increase in the relevance of the generated text is observed"; no number.
Cost:       a cell takes about 3 minutes on a CPU core; on shapes nine trainings of 10 epochs (3 minutes each), on
            CIFAR-10 the trainings of `make deconvolve-ablation` (shared).
Deviations: the paper judges relevance by eye, on four filters and one image. Ours is how well the words predict where
            and on which other images the filter fires, of all live filters. The words are measured, not a language
            model's, unless `describer=openai` is chosen; each filter is described on four images, not one.
"""

from dataclasses import replace
from typing import Any

import torch

from experiments.deconvolve.words_page import summarise
from xcnn.evaluation.predictions import accuracy
from xcnn.evaluation.subject import Subject, networks
from xcnn.evaluation.word_scores import (
    LayerWords,
    describe_layers,
    examples,
    gains,
    label_test_values,
    network_values,
    planted_values,
)
from xcnn.evaluation.words import Sample
from xcnn.launch import Setup, launch
from xcnn.report import Cell, Measured


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    run, settings, layers = setup.trained(), options.simulation, list(options.layers)
    shown = Sample.of(run.data.train, run.data.classes, settings.describing, settings.seed)
    held_out = Sample.of(run.data.test, run.data.classes, settings.held_out, settings.seed)

    def described(subject: Subject) -> dict[str, LayerWords]:
        return describe_layers(subject, layers, shown, held_out, setup.describer, settings.exemplars)

    after = described(run)
    values = {"accuracy": accuracy(run), **network_values(run, after)}
    details: dict[str, Any] = {"describer": setup.options.words}
    if options.penalty is None:
        values |= planted_values(after[layers[-1]], shown, held_out, setup.describer, settings.exemplars)
        values |= label_test_values(held_out, after[layers[-1]])
        torch.manual_seed(options.seed)
        untrained = replace(run, network=setup.model().eval())
        values |= {
            f"{name}_untrained": value for name, value in network_values(untrained, described(untrained)).items()
        }
        details["networks"] = networks(plain=run)
    else:
        plain = setup.variant("penalty=none").trained()
        before = described(plain)
        values |= gains(before, after, options.seed)
        details["examples"] = examples(before[layers[-1]], after[layers[-1]], settings.examples)
        details["networks"] = networks(before=plain, after=run)
    return run.measured(values, settings.held_out, details=details)


if __name__ == "__main__":
    launch(__file__, measure, summarise)
