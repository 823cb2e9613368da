"""Means over seeds, twins kept apart, verdicts against the paper."""

import math
import statistics
from pathlib import Path
from typing import Any

import pytest

from xcnn.errors import UserError
from xcnn.report.tables import PaperNumber, aggregate, compare, markdown, read_paper


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
    assert aggregate([record(accuracy=0.5)])[0].seeds == "1 seed"


def test_one_seed_has_no_spread_and_undefined_values_are_left_out() -> None:
    (row,) = aggregate([record(seed=0, ratio=None), record(seed=1, ratio=0.5)])
    assert row.mean["ratio"] == 0.5 and math.isnan(row.std["ratio"])
    assert row.show("ratio", 1) == "0.5"


def test_seeds_of_data_and_prototypes_are_the_records_own() -> None:
    records = [record(seed=seed, accuracy=float(seed)) for seed in (0, 1)]
    for one in records:
        one["settings"] |= {part: {"seed": one["seed"], "kept": 1} for part in ("data", "prototypes")}
    (row,) = aggregate(records)
    assert row.n == 2
    records[1]["settings"]["prototypes"]["kept"] = 2
    assert len(aggregate(records)) == 2


def test_other_settings_are_never_averaged_together() -> None:
    rows = aggregate([record(seed=0, accuracy=0.2), record(seed=1, epochs=3, accuracy=0.8)])
    assert [(row.n, row.mean["accuracy"]) for row in rows] == [(1, 0.8), (1, 0.2)]
    assert [("3 epochs" in row.setting, "50 epochs" in row.setting) for row in rows] == [(True, False), (False, True)]


def test_twins_that_look_alike_say_what_tells_them_apart() -> None:
    first, second = record(seed=0, accuracy=0.2), record(seed=0, accuracy=0.8)
    second["settings"]["penalty"] = {"alpha": 0.3}
    assert any("penalty.alpha=0.3" in row.setting for row in aggregate([first, second]))


def test_methods_stand_in_the_given_order() -> None:
    rows = aggregate([record(method=name, accuracy=1.0) for name in ("b", "plain", "a")], order=["plain", "b"])
    assert [row.method for row in rows] == ["plain", "b", "a"]


def test_verdicts() -> None:
    rows = aggregate([record(accuracy=0.84), record(method="loss", accuracy=0.9)])
    paper = [
        PaperNumber("plain", "accuracy", 0.85, 0.02, "table 1"),
        PaperNumber("loss", "accuracy", 1.0, 0.05, "table 1"),
        PaperNumber("absent", "accuracy", 1.0, 0.05, "table 1"),
        PaperNumber("other", "accuracy", 1.0, 0.05, "table 1", not_run="no weights"),
        PaperNumber("plain", "accuracy", 0.85, 0.02, "table 1", dataset="CUB"),
    ]
    found = compare(rows, paper, "make paper-table")
    assert [one.verdict for one in found] == [
        "within ± 0.02",
        "outside ± 0.05",
        "not run: no record yet; `make paper-table` makes it",
        "not run: no weights",
        "not run: no record yet; `make paper-table` makes it",
    ]
    assert found[0].difference == pytest.approx(-0.01) and math.isnan(found[2].difference)


def test_paper_numbers_are_read_and_mistakes_in_them_are_located(tmp_path: Path) -> None:
    path = tmp_path / "table.paper.csv"
    assert read_paper(path) == []
    path.write_text("row,metric,value,tolerance,source\nplain,accuracy,0.85,0.02,section 4.2\n")
    assert read_paper(path) == [PaperNumber("plain", "accuracy", 0.85, 0.02, "section 4.2")]
    path.write_text("row,metric,value,tolerance,source\nplain,accuracy,0.85,0.02,a\nplain,accuracy,about 1,0.02,b\n")
    with pytest.raises(UserError, match=r"table\.paper\.csv, line 3"):
        read_paper(path)


def test_markdown_escapes_what_would_break_the_table() -> None:
    assert markdown(["a|b"], [["x\ny"]]) == "| a\\|b |\n| --- |\n| x y |"
