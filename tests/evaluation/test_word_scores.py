"""Gains of words paired by filter, layers without a live one, and tests that a score must pass."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests.evaluation.test_feature_maps import subject_of
from xcnn.data.shapes import Shapes
from xcnn.evaluation.word_scores import describe_layers, examples, gains, label_test_values, network_values
from xcnn.evaluation.words import Sample
from xcnn.language import MeasuredDescriber
from xcnn.models import conv3


def rows_of(scores: dict[int, float]) -> Any:
    frame = pd.DataFrame({"pearson_net": scores, "auprc_net": {k: v / 2 for k, v in scores.items()}})
    return SimpleNamespace(rows=frame)


def test_gains_are_over_the_filters_that_live_in_both() -> None:
    before = {"a": rows_of({0: 0.1, 1: 0.2, 5: 0.3}), "b": rows_of({2: 0.5})}
    after = {"a": rows_of({1: 0.4, 5: 0.2, 7: 0.9}), "b": rows_of({2: 0.1})}
    found = gains(before, after, 0)
    assert found["gain_pearson_net.a"] == pytest.approx((0.2 - 0.1) / 2) and found["gain_pearson_net.a.n"] == 2
    assert found["gain_pearson_net.a.low"] == pytest.approx(-0.1)
    assert found["gain_pearson_net.a.high"] == pytest.approx(0.2)
    assert found["gain_pearson_net.b"] == pytest.approx(-0.4)
    assert found["gain_pearson_net"] == pytest.approx((0.05 - 0.4) / 2) and found["gain_pearson_net.n"] == 3
    assert found["gain_pearson_net.low"] == pytest.approx((-0.1 - 0.4) / 2)
    assert found["gain_auprc_net.a"] == pytest.approx(0.025)


def test_a_dead_layer_is_left_out_of_the_means_and_of_the_gains() -> None:
    data = Shapes(n_train=20, n_test=20)
    data.setup()
    shown, held_out = (Sample.of(each, data.classes, 6, 0) for each in (data.train, data.test))
    torch.manual_seed(0)
    plain, dead = conv3(10).eval(), conv3(10).eval()
    with torch.no_grad():
        dead[6].bias.fill_(-1e3)
    found = [
        describe_layers(subject_of(network, data), ["relu2", "relu3"], shown, held_out, MeasuredDescriber(), 1)
        for network in (plain, dead)
    ]
    values = network_values(subject_of(dead, data), found[1])
    assert values["dead.relu3"] == 1 and values["described.relu3"] == 0 and np.isnan(values["pearson.relu3"])
    assert values["pearson"] == values["pearson.relu2"] and values["supported"] == 1
    assert values["dead"] == pytest.approx((1 + values["dead.relu2"]) / 2)
    change = gains(*found, 0)
    assert change["gain_pearson_net"] == change["gain_pearson_net.relu2"] and "gain_pearson_net.relu3" not in change
    assert examples(found[0]["relu3"], found[1]["relu3"], 3) == []


def test_the_scores_pass_neuronevals_tests_and_recall_does_not() -> None:
    data = Shapes(n_train=10, n_test=40)
    data.setup()
    held_out = Sample.of(data.test, data.classes, 40, 0)
    found = label_test_values(held_out, SimpleNamespace(scenes=(None, held_out.scenes((8, 8)))))  # type: ignore[arg-type]
    assert found["missing_pearson"] == found["extra_pearson"] == found["missing_auprc"] == found["extra_auprc"] == 1
    assert found["missing_recall"] > 0.9 and found["extra_recall"] == 0
