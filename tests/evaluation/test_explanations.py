"""Explanations of images against what removal really does, on networks whose head can be worked out by hand."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from tests.evaluation.test_feature_maps import by_colour, colours, subject_of
from xcnn.evaluation.explanations import ImageExplanation, agreement, beside_controls, explain_image, removal_effects
from xcnn.evaluation.filters import FilterExplainer
from xcnn.evaluation.selection import choose_image
from xcnn.language import MeasuredDescriber
from xcnn.language.averaging import Explanation, Sentence, extractive
from xcnn.models import conv3
from xcnn.models.split import split_at


def test_effects_are_the_probability_less_that_without_the_filters() -> None:
    torch.manual_seed(0)
    network = conv3(3).eval()
    split = split_at(network, "relu3")
    maps = torch.rand(128, 2, 2)
    found = removal_effects(split, maps, [[3], [], [0, 127]], 1)
    with torch.no_grad():
        logits = maps.mean((1, 2))
        weight, bias = network.classifier.weight, network.classifier.bias

        def probability(removed: list[int]) -> float:
            kept = logits.clone()
            kept[removed] = 0
            return float((weight @ kept + bias).softmax(0)[1])

        whole = probability([])
        expected = [whole - probability([3]), 0, whole - probability([0, 127])]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=0)
    assert maps[3].min() > 0  # the caller's maps are as they were


def test_an_image_is_explained_by_its_live_filters() -> None:
    """On a red square two filters are live: the red one, for red, and the green one (of the dark yellow), against."""
    subject = subject_of(by_colour(), colours())
    explainer = FilterExplainer(subject, "relu", MeasuredDescriber())
    choice = choose_image([subject.network], subject.data, "red", correct=True)
    found = explain_image(explainer, choice, extractive, 1e-3, 5)
    words = found.explanation
    assert [one.named for one in words.positive] == [(0,)] and [one.named for one in words.negative] == [(1,)]
    assert words.target == "red" and "filter 0 of relu" in words.text.splitlines()[0]
    assert found.effects[0] > 0 > found.effects[1] and found.effects[2] == found.effects[3] == 0
    row = agreement(found, explainer.split, 4, torch.Generator().manual_seed(0))
    assert (row["named"], row["sign"], row["sign_live"], row["sign_chance"]) == (2, 1, 1, 0.5)
    assert row["fall_for"] == pytest.approx(float(found.effects[0]))
    assert row["rise_against"] == pytest.approx(-float(found.effects[1]))
    assert math.isnan(row["rank"])  # of two filters there is no rank correlation
    dropped = explain_image(explainer, choice, extractive, 1.0, 5).explanation
    assert dropped.neutral == (0, 1) and not dropped.positive and not dropped.negative


def stated(scores: list[float], effects: list[float], named: tuple[list[int], list[int]]) -> ImageExplanation:
    sentences = [tuple(Sentence("", scores[k], (k,), (k,)) for k in side) for side in named]
    explanation = Explanation("red", sentences[0], sentences[1], {}, (), "")
    n = len(scores)
    return ImageExplanation(
        explanation, torch.tensor(scores), torch.tensor(scores).flip(0), torch.tensor(effects), torch.ones(n, 2, 2), 0
    )


def test_sign_and_rank_in_numbers() -> None:
    split = split_at(by_colour(), "relu")
    scores, effects = [0.4, 0.3, 0.2, -0.1], [0.5, 0.1, -0.2, -0.3]
    found = stated(scores, effects, ([0, 1, 2], [3]))
    row = agreement(found, split, 3, torch.Generator().manual_seed(0))
    assert row["sign"] == 0.75 and row["sign_live"] == 0.75 and row["sign_chance"] == 0.5
    assert row["rank"] == 1 and row["rank_other"] == -1
    assert row["sign_other"] == 0.25  # only the third: -0.1, 0.2, 0.3, 0.4 against + + - -
    swapped = replace(found, effects=-found.effects)
    turned = agreement(swapped, split, 3, torch.Generator().manual_seed(0))
    assert turned["sign"] == 0.25 and turned["rank"] == -1
    nothing = agreement(stated(scores, effects, ([], [])), split, 3, torch.Generator().manual_seed(0))
    assert all(math.isnan(nothing[name]) for name in ("sign", "rank", "fall_for", "rise_random"))


def rows_of_images(n: int = 40) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    names = ("named", "sign", "sign_live", "sign_other", "sign_chance", "rank", "rank_live", "rank_other")
    moved = ("fall_for", "fall_random", "rise_against", "rise_random")
    frame = pd.DataFrame({name: generator.random(n) for name in (*names, *moved)})
    frame["sign"] = frame["sign_chance"] + 0.2
    frame.loc[3, "rank"] = np.nan
    return frame.assign(image=range(n))


def test_intervals_are_over_images_and_differences_paired() -> None:
    rows = rows_of_images()
    found = beside_controls(rows)
    assert found["rank"] == pytest.approx(rows["rank"].mean()) and "image" not in found
    assert found["rank.low"] < found["rank"] < found["rank.high"]
    assert [found[f"sign-sign_chance{end}"] for end in ("", ".low", ".high")] == pytest.approx([0.2] * 3)
