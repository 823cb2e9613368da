"""Words about the live filters of a network's layers, and what a loss adds to their scores (DeConvolve, 4.1)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
import torch

from xcnn.evaluation.image_rows import with_ends
from xcnn.evaluation.subject import Subject
from xcnn.evaluation.words import Responses, Sample, Words, best_words, planted, put_into_words, respond, score_words
from xcnn.filters import measure_activity, score_filters
from xcnn.language import Describer
from xcnn.language.simulate import Scenes, vocabulary
from xcnn.metrics.bootstrap import Interval, bootstrap_means, paired_difference, percentiles
from xcnn.metrics.simulation import average_precisions, correlations, label_tests, recalls

NET = ("pearson_net", "auprc_net")
TESTED = {"pearson": correlations, "auprc": average_precisions, "recall": recalls}


@dataclass(frozen=True, eq=False)
class LayerWords:
    """A layer's filters in words: the words, a row of scores for each filter, and the images they were scored on."""

    layer: str
    words: Words
    rows: pd.DataFrame
    held_out: Responses
    scenes: tuple[Scenes, Scenes]
    live_share: float


def describe_layers(
    subject: Subject, layers: Sequence[str], shown: Sample, held_out: Sample, describer: Describer, exemplars: int
) -> dict[str, LayerWords]:
    """Describe all live filters on some images and score the words on others.

    Args:
        subject: the network.
        layers: names of post-ReLU layers.
        shown, held_out: images to describe on, and to score on.
        describer: what puts filters into words.
        exemplars: images that each filter is described on.
    """
    on_shown, on_held_out = (respond(subject, layers, sample) for sample in (shown, held_out))
    found = {}
    for layer in layers:
        first, second = on_shown[layer], on_held_out[layer]
        scenes = shown.scenes(first.size), held_out.scenes(second.size)
        live = first.live & second.live
        scores = score_filters(subject.network, layer, subject.data.input_size)
        words = put_into_words(first, live, layer, scores, describer, exemplars, progress=layer)
        best = best_words(first, scenes[0], words.filters)
        rows = score_words(words, best, second, scenes[1])
        rows["best_is_part"] = [float(word.kind == "part" and word.value != "object") for word in best]
        found[layer] = LayerWords(layer, words, rows, second, scenes, float(live.double().mean()))
    return found


def network_values(subject: Subject, found: Mapping[str, LayerWords]) -> dict[str, float]:
    """Means over the filters of each layer (`<name>.<layer>`) and over layers (`<name>`); the share of dead filters.

    A layer without a live filter has no words: its means are NaN, and the mean over layers is of the others.
    """
    by_layer: dict[str, dict[str, float]] = {}
    for layer, one in found.items():
        activity = measure_activity(subject.network, layer, subject.data.test_dataloader(), len(subject.data.classes))
        by_layer[layer] = {str(name): value for name, value in one.rows.mean().items()} | one.words.claims()
        by_layer[layer] |= {"dead": activity.dead_share, "described": float(len(one.words.filters))}
    values = {f"{name}.{layer}": value for layer, each in by_layer.items() for name, value in each.items()}
    for name in next(iter(by_layer.values())):
        defined = [each[name] for each in by_layer.values() if not math.isnan(each[name])]
        values[name] = fmean(defined) if defined else math.nan
    return {name: float(value) for name, value in values.items()}


def gains(before: Mapping[str, LayerWords], after: Mapping[str, LayerWords], seed: int) -> dict[str, float]:
    """What the loss adds to the words' scores, over the filters that live in both networks, paired by index.

    Returns:
        `gain_<score>.<layer>` and `gain_<score>`, the mean over layers, each with the ends of its interval (`.low`,
        `.high`; bootstrap over filters, within each layer) and the number of pairs (`.n`).
    """
    values: dict[str, float] = {}
    for name in NET:
        pairs = {}
        for layer in before:
            both = before[layer].rows.index.intersection(after[layer].rows.index)
            pairs[layer] = [one[layer].rows.loc[both, [name]].to_numpy() for one in (after, before)]
        pairs = {layer: pair for layer, pair in pairs.items() if len(pair[0])}
        each = {layer: paired_difference(pair[0], pair[1], seed=seed) for layer, pair in pairs.items()}
        for layer, one in each.items():
            values |= with_ends([f"gain_{name}.{layer}"], one) | {f"gain_{name}.{layer}.n": float(len(pairs[layer][0]))}
        if each:
            resampled = [bootstrap_means(a - b, seed=seed + place) for place, (a, b) in enumerate(pairs.values())]
            mean = np.array([fmean(float(one.mean[0]) for one in each.values())])
            values |= with_ends([f"gain_{name}"], Interval(mean, *percentiles(np.mean(resampled, axis=0))))
            values[f"gain_{name}.n"] = float(sum(len(pair[0]) for pair in pairs.values()))
    return values


def examples(before: LayerWords, after: LayerWords, n: int) -> list[dict[str, Any]]:
    """The first filters that live in both networks: the words on their strongest image, and the score of all."""
    both = before.rows.index.intersection(after.rows.index)[:n]
    return [
        {
            "layer": after.layer,
            "filter": int(k),
            **{
                when: {
                    "text": one.words.descriptions[one.words.filters.index(k)][0].text,
                    "pearson_net": round(float(one.rows.loc[k, "pearson_net"]), 3),
                }
                for when, one in (("before", before), ("after", after))
            },
        }
        for k in both
    ]


def planted_values(
    like: LayerWords, shown: Sample, held_out: Sample, describer: Describer, exemplars: int
) -> dict[str, float]:
    """The same scores for planted filters, each of which fires where one word of the vocabulary says.

    Args:
        like: the layer whose maps have the size of the planted ones.
        shown, held_out, describer, exemplars: as for `describe_layers`.
    """
    first, planted_words = planted(shown, like.scenes[0])
    second, _ = planted(held_out, like.scenes[1], planted_words)
    scores = torch.zeros(len(shown.classes), len(planted_words))
    live = first.live & second.live
    words = put_into_words(first, live, "planted", scores, describer, exemplars, progress="planted")
    rows = score_words(words, [planted_words[k] for k in words.filters], second, like.scenes[1])
    return {f"planted_{name}": float(value) for name, value in rows.mean().items()}


def label_test_values(held_out: Sample, like: LayerWords, noise: float = 0.1, fewest: int = 20) -> dict[str, float]:
    """NeuronEval's two tests of the two scores, and of recall, which cannot pass: the share of concepts that fall.

    Args:
        held_out: the images.
        like: the layer in whose cells they are looked at.
        noise: standard deviation of what is added to a concept's filter, whose maximum is 1.
        fewest: cells that a concept must have.
    """
    concepts = planted(held_out, like.scenes[1], vocabulary(like.scenes[1]))[0].cells
    chosen = concepts[(concepts > 0.5).sum(1).clamp(max=concepts.shape[1] // 2 + 1).sub(fewest) >= 0]
    chosen = chosen[(chosen > 0.5).double().mean(1) <= 0.5]
    generator = torch.Generator().manual_seed(0)
    actual = (chosen + noise * torch.randn(chosen.shape, generator=generator)).relu()
    found = {name: label_tests(chosen > 0.5, actual, score) for name, score in TESTED.items()}
    return {f"{test}_{name}": value for name, tests in found.items() for test, value in tests._asdict().items()}
