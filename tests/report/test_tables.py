"""Means over seeds, twins kept apart, and the numbers that a paper prints."""

import math
import statistics
from pathlib import Path
from typing import Any

import pytest

from xcnn.errors import UserError
from xcnn.report.tables import PaperNumber, aggregate, by_network, markdown, named, read_paper, renamed


def record(method: str = "plain", seed: int = 0, epochs: int = 50, **values: float | None) -> dict[str, Any]:
    return {
        "dataset": "toy",
        "model": "conv3",
        "method": method,
        "seed": seed,
        "values": values,
        "data": {"name": "Toy", "manifest": "-"},
        "training": {"epochs": epochs, "precision": "32-true", "device": "cpu"},
        "settings": {"seed": seed, "data": {"seed": seed, "train_size": None}, "training": {"max_epochs": epochs}},
    }


def test_mean_and_sample_standard_deviation_over_seeds() -> None:
    values = [0.2, 0.5, 0.9]
    (row,) = aggregate([record(seed=seed, accuracy=value) for seed, value in enumerate(values)])
    assert row.n == 3 and row.seeds == "3 seeds"
    assert row.mean["accuracy"] == pytest.approx(statistics.fmean(values))
    assert row.std["accuracy"] == pytest.approx(statistics.stdev(values))
    assert row.show("accuracy", 2) == "0.53 ± 0.35"
    assert row.show("absent") == "-"
    assert aggregate([record(cosine=-0.001)])[0].show("cosine", 2) == "0.00"
    assert aggregate([record(accuracy=0.5)])[0].seeds == "1 seed"


def test_one_seed_has_no_spread_and_undefined_values_are_left_out() -> None:
    (row,) = aggregate([record(seed=0, ratio=None), record(seed=1, ratio=0.5)])
    assert row.mean["ratio"] == 0.5 and math.isnan(row.std["ratio"])
    assert row.show("ratio", 1) == "0.5"


def test_seeds_of_parts_and_of_variants_are_the_records_own() -> None:
    records = [record(seed=seed, accuracy=float(seed)) for seed in (0, 1)]
    for one in records:
        one["settings"] |= {part: {"seed": one["seed"], "kept": 1} for part in ("data", "prototypes", "surrogate")}
        one["settings"]["variants"] = {"a=b": {"seed": one["seed"], "kept": 1}, "a=none": None}
    (row,) = aggregate(records)
    assert row.n == 2
    records[1]["settings"]["prototypes"]["kept"] = 2
    assert len(aggregate(records)) == 2
    records[1]["settings"]["prototypes"]["kept"], records[1]["settings"]["variants"]["a=b"]["kept"] = 1, 2
    assert len(aggregate(records)) == 2


@pytest.mark.parametrize(("seeds", "rows"), [((0, 1), 1), ((0, 2), 2), ((7, 7), 1)])
def test_a_method_s_seed_tells_records_apart_unless_it_is_theirs(seeds: tuple[int, int], rows: int) -> None:
    records = [record(seed=seed, accuracy=0.5) for seed in (0, 1)]
    for one, seed in zip(records, seeds, strict=True):
        one["settings"]["attribution"] = {"class": "SmoothGrad", "seed": seed}
    assert len(aggregate(records)) == rows


def test_other_settings_are_never_averaged_together() -> None:
    rows = aggregate([record(seed=0, accuracy=0.2), record(seed=1, epochs=3, accuracy=0.8)])
    assert [(row.n, row.mean["accuracy"]) for row in rows] == [(1, 0.8), (1, 0.2)]
    assert [("3 epochs" in row.setting, "50 epochs" in row.setting) for row in rows] == [(True, False), (False, True)]


def test_twins_that_look_alike_say_what_tells_them_apart() -> None:
    first, second = record(seed=0, accuracy=0.2), record(seed=0, accuracy=0.8)
    second["settings"]["penalty"] = {"alpha": 0.3}
    assert any("penalty.alpha=0.3" in row.setting for row in aggregate([first, second]))


def test_where_the_weights_come_from_is_a_part_of_the_setting() -> None:
    fitted, started = record(accuracy=1.0), record(accuracy=1.0)
    fitted |= {"training": None, "weights_provenance": "quantised"}
    assert aggregate([fitted])[0].setting == "Toy; weights: quantised"
    started["settings"]["model"] = {"weights": {"file": "w", "hash": "0"}}
    assert aggregate([started])[0].setting.split("; ")[1] == "from ImageNet weights"
    started["weights_provenance"] = "quantised"
    assert aggregate([started])[0].setting.split("; ")[1] == "from ImageNet weights (quantised)"
    started["settings"]["model"] = {"weights": None}
    assert aggregate([started])[0].setting.split("; ")[1] == "trained from scratch"


def test_methods_stand_in_the_given_order() -> None:
    rows = aggregate([record(method=name, accuracy=1.0) for name in ("b", "plain", "a")], order=["plain", "b"])
    assert [row.method for row in rows] == ["plain", "b", "a"]


def test_paper_numbers_are_read_and_mistakes_in_them_are_located(tmp_path: Path) -> None:
    path = tmp_path / "table.paper.csv"
    assert read_paper(path) == []
    path.write_text("row,metric,value,unit,source,dataset\nplain,accuracy,85.0,%,section 4.2,toy\n")
    assert read_paper(path) == [PaperNumber("plain", "accuracy", "85.0", "section 4.2", "%", "toy")]
    for wrong in ("about 1,%", "nan,%", ",%", "1.0,percent"):
        path.write_text(f"row,metric,value,unit,source\nplain,accuracy,0.85,,a\nplain,accuracy,{wrong},b\n")
        with pytest.raises(UserError, match=r"table\.paper\.csv, line 3"):
            read_paper(path)
    path.write_text("row,metric,value,source\nplain,accuracy,0.85,a\n")
    with pytest.raises(UserError, match=r"line 2: KeyError\('unit'\)"):
        read_paper(path)


@pytest.mark.parametrize(
    ("text", "digits", "half"), [("47.03", 2, 0.005), ("100.0", 1, 0.05), ("40", 0, 0.5), ("-0.05", 2, 0.005)]
)
def test_the_last_printed_digit_says_how_far_a_number_is_rounded(text: str, digits: int, half: float) -> None:
    number = PaperNumber("plain", "drop", text, "table 1")
    assert (number.value, number.digits, number.half_unit) == (float(text), digits, pytest.approx(half))


def test_markdown_escapes_what_would_break_the_table() -> None:
    assert markdown(["a|b"], [["x\ny"]]) == "| a\\|b |\n| --- |\n| x y |"


def test_what_belongs_to_a_metric_is_named_before_the_choice() -> None:
    assert named("drop/soft-black", "low") == "drop.low/soft-black"
    assert named("accuracy", "less_high") == "accuracy.less_high"
    assert named("drop/soft-black", "") == "drop/soft-black"


def test_rows_by_network() -> None:
    rows = aggregate([record(method) | {"model": model} for model in ("vgg16", "conv3") for method in ("a", "b")])
    assert [(place, [row.method for row in group]) for place, group in by_network(rows).items()] == [
        (("toy", "conv3"), ["a", "b"]),
        (("toy", "vgg16"), ["a", "b"]),
    ]


def test_values_under_other_names_are_a_row_of_their_own() -> None:
    (row,) = aggregate([record(seed=seed, fidelity=0.9, **{"fidelity/majority": 0.1 * seed}) for seed in (1, 2)])
    found = renamed(row, {"fidelity": "fidelity/majority"}, "majority")
    assert (found.method, found.dataset, found.n) == ("majority", "toy", 2)
    assert found.mean == {"fidelity": pytest.approx(0.15)} and found.std["fidelity"] == pytest.approx(0.1 / 2**0.5)
    assert [each["values"] for each in found.records] == [{"fidelity": 0.1}, {"fidelity": 0.2}]
    assert renamed(row, {"x": "fidelity"}).method == "plain" and row.mean["fidelity"] == pytest.approx(0.9)
    with pytest.raises(KeyError, match="absent"):
        renamed(row, {"fidelity": "absent"})
