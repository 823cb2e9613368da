"""What DeConvolve's pages make of given numbers: areas over all maps, rows that may be compared, readings, choices."""

from typing import Any

import pytest
import torch

from experiments.deconvolve.ablation import summarise as ablation
from experiments.deconvolve.feature_map_means import comparable, with_all_maps
from experiments.deconvolve.loss_grid import at_chance, grid_figures
from experiments.deconvolve.readings import matching, pairs_facts
from experiments.deconvolve.succinctness import summarise as succinctness
from experiments.deconvolve.table1_page import summarise as table1
from tests.metrics.test_feature_maps import FILTERS, Channels
from xcnn.metrics.feature_maps import feature_map_rows, feature_map_values
from xcnn.report import PaperNumber, Row, Summary, aggregate, compare
from xcnn.report.page import Page
from xcnn.report.provenance import REPOSITORY

PAPER = [
    PaperNumber(row, "succinctness", text, "section 4.2") for row, text in (("plain", "0.85"), ("literal", "1.00"))
]


def record(method: str, values: dict[str, float], seed: int = 0, epochs: int = 50, **more: Any) -> dict[str, Any]:
    """A record of a network with one layer `a`."""
    shared = {
        "cell": f"{method}-s{seed}", "dataset": "toy", "model": "conv3", "weights": "w", "n": 100, "files": {},
        "data": {"name": "toy", "manifest": "m"}, "git_sha": "0123456789ab", "dirty": False, "lock": "l",
        "versions": {"torch": "2"}, "device": "cpu", "machine": "a machine", "precision": "32-true", "wall_s": 60.0,
        "details": {},
    }  # fmt: skip
    training = {"epochs": epochs, "fingerprint": "f", "wall_s": 1.0, "device": "cpu", "precision": "32-true"}
    return {
        **shared,
        "training": {**training, "git_sha": "0123456789ab", "dirty": False},
        "method": method,
        "seed": seed,
        "values": values,
        "settings": {"method": method, "seed": seed, "data": {}, "layers": ["a"], "n_classes": 10, "epochs": epochs},
        **more,
    }


def maps(area: float, silent: float, **more: float) -> dict[str, float]:
    """Values of a network whose live maps have an area, and a share of whose maps is silent."""
    black = 1 - area * (1 - silent)
    found = {"area": area, "silent": silent, "black_pixels": black, "dispersion": 0.3, "dead": silent, "accuracy": 0.7}
    found |= {"succinctness": 0.85, "thinned": 0.8, "black_pixels.a": black, "undefined.a": 0.0} | more
    return found


def rendered(identity: str, summary: Summary, rows: list[Row], paper: list[PaperNumber]) -> str:
    pictures: dict[str, Any] = dict.fromkeys(summary.drawings)
    pictures |= {file: one for row in rows for one in row.records for file in one["files"]}
    titles = {"literal": {"title": "eq. 1"}, "floored": {"title": "floors"}}
    made = Page(identity, "make it", summary, rows, compare(rows, paper), pictures, titles)
    return made.render(REPOSITORY / "experiments")


# Areas over all maps


def test_the_area_over_all_maps_follows_from_older_records() -> None:
    """As measured, on random maps with silent filters and an image on which nothing fires."""
    images = torch.rand(20, 14, 4, 4, generator=torch.Generator().manual_seed(0))
    images[torch.rand(20, 14, generator=torch.Generator().manual_seed(1)) < 0.5] = 0
    images[3] = 0
    values = feature_map_values(feature_map_rows(Channels(), [*FILTERS], images, torch.zeros(20)), FILTERS)
    assert values["undefined.first"] >= 1 / 20
    older = {name: value for name, value in values.items() if not name.startswith("area_all")}
    one = record("plain", older)
    one["settings"]["layers"] = list(FILTERS)
    (row,) = with_all_maps(aggregate([one]))
    assert {name: row.mean[name] for name in values if name.startswith("area_all")} == pytest.approx(
        {name: value for name, value in values.items() if name.startswith("area_all")}, abs=1e-6
    )
    (kept,) = with_all_maps(aggregate([record("plain", maps(0.5, 0.5, area_all=0.1))]))
    assert kept.mean["area_all"] == 0.1  # where it was measured, that stays


def test_rows_of_one_training_are_compared() -> None:
    short = [record(method, maps(0.5, 0), epochs=2) for method in ("plain", "literal", "floored")]
    long = [record(method, maps(0.2, 0), seed) for method in ("plain", "literal") for seed in (0, 1)]
    newer = [record(method, maps(0.3, 0)) for method in ("plain", "literal")]
    for one in newer:
        one["settings"]["protocol"] = 2
    found = comparable(aggregate([*short, *long, *newer]))
    assert {method: (row.mean["area"], row.n) for method, row in found.items()} == {
        "plain": (0.2, 2),
        "literal": (0.2, 2),
    }
    again = comparable(aggregate([*long[::2], *newer]))  # as many seeds: the newer
    assert {row.mean["area"] for row in again.values()} == {0.3}


def test_the_ablation_shows_both_areas_and_marks_the_probe() -> None:
    rows = aggregate(
        [
            *(record("plain", maps(0.2, 0.2), seed) for seed in (0, 1)),
            *(record("literal", maps(0.3, 0.6), seed) for seed in (0, 1)),
            floored(maps(0.2, 0.3)),
            record("plain", maps(0.6, 0.4), epochs=2),
            floored(maps(0.5, 0.3), epochs=2),
        ]
    )
    text = rendered("deconvolve/ablation", ablation(rows, []), rows, [])
    first = text.partition("<details>")[0]
    assert (
        "lower the area (0.160 -> 0.120)" in first
        and "the maps that stay alive are larger than before (0.200 -> 0.300)" in first
    )
    assert first.splitlines()[3].startswith("**Not reproduced.**")
    assert "it contradicts the long trainings: here the floors leave fewer filters dead" in text
    assert "than no penalty does (0.30 against 0.40), after 50 epochs more (0.30 against 0.20)" in text


@pytest.mark.parametrize(("accuracy", "n", "guessing"), [(0.09, 2000, True), (0.11, 2000, True), (0.12, 2000, False)])
def test_an_accuracy_is_at_chance_if_its_interval_reaches_a_tenth(accuracy: float, n: int, guessing: bool) -> None:
    """The interval's half length is about 2 sqrt(0.1 0.9 / 2000), 0.013."""
    (row,) = aggregate([record("literal-a0.1-b0.05", maps(0.2, 0.9, accuracy=accuracy), n=n)])
    assert at_chance(row) == guessing


def test_the_grid_has_a_panel_for_each_loss_and_a_figure_for_each_metric() -> None:
    cells = [("literal", 0.1, 0.05), ("literal", 0.3, 0.05), ("floored", 0.1, 0.05)]
    records = [record(f"{loss}-a{alpha}-b{beta}", maps(0.2, 0.5)) for loss, alpha, beta in cells]
    for one, (_, alpha, beta) in zip(records, cells, strict=True):
        one["settings"]["penalty"] = {"alpha": alpha, "beta": beta}
    figures = grid_figures(aggregate([*records, record("literal", maps(0.2, 0.5))]))
    assert sorted(figures) == [f"ablation-grid-{metric}.png" for metric in ("accuracy", "dead", "silent")]
    words = [text.get_text() for panel in figures["ablation-grid-silent.png"].axes[:2] for text in panel.texts]
    assert words == ["0.500", "0.500", "0.500", "–"]  # rows alpha; one of the second loss has not been run
    assert grid_figures(aggregate([record("plain", maps(0.2, 0.5))])) == {}


def floored(values: dict[str, float], epochs: int = 50) -> dict[str, Any]:
    one = record("floored", values, epochs=epochs)
    one["settings"]["penalty"] = {"alpha": 0.1, "beta": 0.05, "area_floor": 0.2, "dispersion_floor": 0.3}
    return one


# Readings of the ratio


def pair_values(**ratios: float) -> dict[str, float]:
    named = {"low": "0.3/0.25", "high": "0.3/0.9"}
    return maps(0.2, 0.2) | {f"succinctness@{named[k]}{end}": v for k, v in ratios.items() for end in ("", ".a")}


@pytest.mark.parametrize(("after", "says"), [(0.996, "these give"), (0.994, "none gives")])
def test_pairs_of_settings_that_give_the_papers_numbers(after: float, says: str) -> None:
    rows = aggregate(
        [record("plain", pair_values(low=0.9, high=0.846)), record("literal", pair_values(low=1.0, high=after))]
    )
    facts = pairs_facts(rows[1], rows[0], ["a"], (PAPER[0], PAPER[1]))
    assert facts["n"] == 2 and facts["nearest"] == "succinctness@0.3/0.9.a" and facts["values"] == (0.846, after)
    assert facts["matching"] == (["succinctness@0.3/0.9.a", "succinctness@0.3/0.9"] if says == "these give" else [])
    text = rendered("deconvolve/succinctness", succinctness(rows, PAPER), rows, PAPER)
    assert (
        f"Of 2 pairs of the two settings that the paper does not give, {says} 0.85 -> 1.00"
        in text.partition("<details>")[0]
    )
    assert "![succinctness-pairs]" in text.partition("<details>")[0]


def test_a_reading_matches_if_both_ends_round_to_the_papers() -> None:
    before, after = aggregate([record("plain", {"x": 0.854, "y": 0.86}), record("then", {"x": 0.996, "y": 1.0})])
    assert matching(before, after, ["x", "y", "z"], (PAPER[0], PAPER[1])) == ["x"]


# Which filters


def filters(*correlations: float) -> list[dict[str, Any]]:
    side = {"filter": 1, "score": 0.1, "text": "Words.", "claims": 2, "supported": 2}
    return [{"before": side, "after": side, "correlation": value} for value in correlations]


@pytest.mark.parametrize(
    ("areas", "verdict", "says"),
    [
        (
            (0.2, 0.3),
            "Not reproduced",
            "0.200 -> 0.300 (matched by index: it rises), 0.200 -> 0.300 (matched by correlation: it rises)",
        ),
        ((0.3, 0.2), "Reproduced", "matched by index: it falls"),
    ],
)
def test_table_1_answers_whether_the_area_falls(areas: tuple[float, float], verdict: str, says: str) -> None:
    before, after = areas
    values = {f"area_before{end}": before for end in ("", "_index")} | {f"area{end}": after for end in ("", "_index")}
    values |= {"accuracy": 0.7, "accuracy_before": 0.7, "dead": 0.1, "dead_before": 0.1, "claims": 8, "supported": 8}
    details = {
        "image": 3, "label": "bird", "layer": "relu3",
        "matchings": {"index": filters(0.5, -0.1), "correlation": filters(0.3, 0.11)},
        "networks": {"before": {"weights": "aa", "training": "bb"}, "after": {"weights": "cc", "training": "dd"}},
    }  # fmt: skip
    one = record("literal", values, details=details, files={"table1-literal-index.png": "h"})
    one["settings"]["figure"] = {"matching_images": 1000}
    rows = aggregate([one])
    text = rendered("deconvolve/table1", table1(rows, []), rows, [])
    first = text.partition("<details>")[0]
    assert first.splitlines()[3].startswith(f"**{verdict}.**") and says in first
    assert (
        'correlate 0.11 to 0.30 (eq. 1): "before" and "after" are not the same filter' in first
        and "| eq. 1 | before | aa | bb |" in text
    )


@pytest.mark.parametrize(
    ("changes", "verdict", "says"),
    [
        ((-0.10, -0.12, -0.11), "Reproduced", "0.300 -> 0.190 (it falls)"),
        ((-0.10, 0.12, 0.01), "Not reproduced", "0.300 -> 0.310 (not told apart)"),
        ((0.10, 0.12, 0.11), "Not reproduced", "0.300 -> 0.410 (it rises)"),
    ],
)
def test_table_1_of_several_seeds(changes: tuple[float, ...], verdict: str, says: str) -> None:
    details = {"image": 3, "label": "bird", "layer": "relu3", "matchings": {"correlation": filters(0.3)}}
    records = []
    for seed, change in enumerate(changes):
        values = {"area_before": 0.3, "area": 0.3 + change, "accuracy": 0.7, "accuracy_before": 0.7, "dead": 0.1}
        values |= {"dead_before": 0.1, "claims": 8, "supported": 7}
        one = record("literal", values, seed, details={**details, "matchings": {"correlation": filters(seed / 10)}})
        one["settings"]["figure"] = {"matching_images": 1000}
        records.append(one)
    rows = aggregate(records)
    text = rendered("deconvolve/table1", table1(rows, []), rows, [])
    first = text.partition("<details>")[0]
    assert first.splitlines()[3].startswith(f"**{verdict}.**") and f"over 3 seeds goes {says}" in first
    assert "correlate 0.00 to 0.20" in first and "| 3 seeds, paired |" in first
    assert "21 of 24 claims in the words of all seeds" in text


def test_table_1_of_older_records_has_one_matching() -> None:
    values = {"area_before": 0.2, "area": 0.3, "accuracy": 0.7, "accuracy_before": 0.7, "dead": 0.1, "dead_before": 0.1}
    details = {"image": 3, "label": "bird", "layer": "relu3", "filters": filters(0.2)}
    one = record("literal", values | {"claims": 8, "supported": 8}, details=details)
    one["settings"]["figure"] = {"matching_images": 1000}
    rows = aggregate([one])
    text = rendered("deconvolve/table1", table1(rows, []), rows, [])
    assert "0.200 -> 0.300 (it rises)" in text and "with the highest scores *after* the loss" in text
    assert "The others that were used are named with the next measurement." in text
