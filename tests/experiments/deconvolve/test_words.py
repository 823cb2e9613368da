"""What `deconvolve/words` and `deconvolve/explanations` make of records: gains paired by filter, verdicts, pages."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from experiments.deconvolve.explanation_texts import explanations_summary
from experiments.deconvolve.explanations import beside_controls
from experiments.deconvolve.word_scores import (
    describe_layers,
    examples,
    gains,
    label_test_values,
    network_values,
    words_summary,
)
from tests.evaluation.test_feature_maps import subject_of
from tests.experiments.deconvolve.test_pages import record, rendered
from xcnn.data.shapes import Shapes
from xcnn.evaluation.words import Sample
from xcnn.language import MeasuredDescriber
from xcnn.models import conv3
from xcnn.report import aggregate


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


NAMES = (
    *("accuracy", "dead", "pearson", "pearson_shuffled", "pearson_image", "pearson_centre", "pearson_best_word"),
    *("which", "auprc", "auprc_net", "auprc_constant", "supported", "contradicted", "untestable", "best_is_part"),
    *("planted_pearson", "planted_pearson_shuffled", "planted_auprc", "planted_auprc_shuffled", "dead.a"),
    *(
        "pearson_net_untrained",
        *(f"{test}_{of}" for test in ("missing", "extra") for of in ("pearson", "auprc", "recall")),
    ),
)


def words_record(method: str, net: float, seed: int, dataset: str = "cifar10", **more: Any) -> dict[str, Any]:
    values = dict.fromkeys(NAMES, 0.5) | {"pearson_net": net, "pearson_net.a": net}
    if method != "plain":
        values |= {"gain_pearson_net": net - 0.2, "gain_pearson_net.low": -0.5, "gain_pearson_net.high": 0.5}
    one = record(method, values, seed, dataset=dataset, **more)
    sides = {when: {"text": f"words {when}", "pearson_net": 0.1} for when in ("before", "after")}
    one["details"] = {"examples": [{"layer": "a", "filter": 3, **sides}]}
    simulation = {"exemplars": 4, "describing": 500, "held_out": 300}
    one["settings"] |= {"words": "measured", "simulation": simulation}
    one["cell"] = f"{dataset}-{one['cell']}"
    return one


def page(records: list[dict[str, Any]]) -> tuple[Any, str]:
    rows = aggregate(records)
    summary = words_summary(rows)
    return summary, rendered("deconvolve/words", summary, rows, [])


@pytest.mark.parametrize(
    ("change", "verdict"), [(0.1, "Reproduced"), (-0.1, "Not reproduced"), (0.0, "Not reproduced")]
)
def test_the_claim_is_judged_on_the_papers_data_paired_by_seed(change: float, verdict: str) -> None:
    wobble = (0.0, 0.01, -0.01)
    records = [words_record("plain", 0.2 + 0.1 * seed, seed) for seed in range(3)]
    records += [words_record("literal", 0.2 + 0.1 * seed + change + wobble[seed], seed) for seed in range(3)]
    records += [words_record("plain", 0.2, 0, "shapes"), words_record("literal", 0.9, 0, "shapes")]
    summary, text = page(records)
    assert f"**{verdict}.**" in text
    (counted,) = [one for one in summary.claims if one.counts]
    assert counted.difference.over == "seeds" and counted.difference.value == pytest.approx(change)
    assert "shapes: eq. 1 has a higher relevance than plain (not the paper's data, not counted)" in text
    assert "With a language model's words: not run, no model; `make it ARGS=" in text
    assert "| a/3 | before | +0.100 | words before |" in text


def test_shapes_alone_are_not_comparable_and_a_language_models_words_stand_beside_them() -> None:
    records = [words_record(method, 0.3, 0, "shapes") for method in ("plain", "literal")]
    assert (
        "**Not comparable.**" in page(records)[1]
        and "On CIFAR-10, the paper's data, it has not been run" in page(records)[1]
    )
    spoken = [words_record(method, 0.4, 0) for method in ("plain", "literal")]
    for one in spoken:
        one["settings"]["words"] = "openai"
    summary, text = page([*records, *spoken])
    assert {group["words"] for group in summary.facts["groups"]} == {"measured", "openai"}
    assert "a language model's words, it goes 0.400 -> 0.400" in text and "not run, no model" not in text


# Explanations


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


@pytest.mark.parametrize(("shift", "verdict"), [(0.0, "Reproduced"), (-1.5, "Not reproduced")])
def test_the_verdict_is_of_sign_and_rank_on_the_papers_data(shift: float, verdict: str) -> None:
    text = {
        "image": 7, "label": "car", "predicted": "truck", "probability": 0.5, "neutral": 2, "text": "For truck: a.\nb.",
        "buckets": [{"side": "for", "score": 0.1, "filters": 3, "named": [4], "effect": 0.02, "text": "a."}],
    }  # fmt: skip
    values = beside_controls(rows_of_images().assign(rank=lambda rows: rows["rank"] + shift))
    one = record("literal", values | {"accuracy": 0.7, "dead": 0.4}, dataset="cifar10")
    one["details"] = {"texts": dict.fromkeys(("wrong", "right", "other"), text)}
    one["settings"] |= {"words": "measured", "averaging": {"layer": "a", "buckets": 5, "epsilon": 0.001}}
    rows = aggregate([one])
    summary = explanations_summary(rows)
    shown = rendered("deconvolve/explanations", summary, rows, [])
    assert f"**{verdict}.**" in shown
    assert "> For truck: a.\n>\n> b." in shown and "| for | +0.1000 | 3 | 4 | +0.0200 | a. |" in shown
    other = aggregate([one | {"dataset": "shapes"}])
    assert explanations_summary(other).verdict == "not comparable"
