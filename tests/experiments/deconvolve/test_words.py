"""What `deconvolve/words` and `deconvolve/explanations` make of records: verdicts and pages."""

from typing import Any

import pytest

from experiments.deconvolve import explanations_page, words_page
from tests.evaluation.test_explanations import rows_of_images
from tests.experiments.deconvolve.test_pages import record, rendered
from xcnn.evaluation.explanations import beside_controls
from xcnn.report import aggregate

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
    summary = words_page.summarise(rows, [])
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
    summary = explanations_page.summarise(rows, [])
    shown = rendered("deconvolve/explanations", summary, rows, [])
    assert f"**{verdict}.**" in shown
    assert "> For truck: a.\n>\n> b." in shown and "| for | +0.1000 | 3 | 4 | +0.0200 | a. |" in shown
    other = aggregate([one | {"dataset": "shapes"}])
    assert explanations_page.summarise(other, []).verdict == "not comparable"
