"""Rows by network, which column of the paper they stand in, and what the pages say of given numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from experiments.self_explanation import block_weight, figure1, figure2, subsets, table1, table2, theorem1
from experiments.self_explanation.networks import Network, in_columns, networks_of, of_column, per_class
from experiments.self_explanation.weights import explanation
from xcnn.report import PaperNumber, Row, Summary, aggregate, compare
from xcnn.report.page import Page
from xcnn.report.provenance import REPOSITORY

TITLES = {"kmex": {"title": "KMEx"}, "imagenette": {"title": "Imagenette"}, "cnn": {"title": "CNN"}}


def record(
    method: str, values: Mapping[str, float], dataset: str = "mnist", seed: int = 0, **more: Any
) -> dict[str, Any]:
    prototypes = {"per_class": 1 if method == "kmex_1" else 5}
    settings = {"method": method, "data": {"image_size": 32}, "model": {"weights": None}, "prototypes": prototypes}
    settings |= {"training": {"max_epochs": 5}, "protopnet": {"training": {"warm": 1, "joint": 5, "last": 10}}}
    return {
        "cell": f"{dataset}-{method}-{seed}", "dataset": dataset, "model": "resnet34", "method": method, "seed": seed,
        "n": 100, "values": dict(values), "settings": settings, "overrides": [], "weights": "w", "training": None,
        "files": {}, "data": {"name": dataset, "manifest": "m"}, "git_sha": "0123456789ab", "dirty": False, "lock": "l",
        "versions": {"torch": "2"}, "device": "cpu", "machine": "a machine", "precision": "32-true", "wall_s": 60.0,
        "details": {"train": 90, "held_out": 10}, **more,
    }  # fmt: skip


def page(name: str, summary: Summary, rows: Sequence[Row], paper: Sequence[PaperNumber] = ()) -> str:
    made = Page(
        f"self_explanation/{name}",
        "make it",
        summary,
        rows,
        compare(rows, paper),
        dict.fromkeys(summary.drawings),
        TITLES,
    )
    return made.render(REPOSITORY / "experiments")


def first_screen(text: str) -> str:
    return text.partition("<details>")[0]


def row(method: str, number: int | None, test: float, key: str = "prototypes", dataset: str = "data") -> Row:
    settings: dict[str, Any] = {} if number is None else {key: {"per_class": number}}
    overrides = ["recipe=data", *(["prototypes.per_class=10"] if number == 10 else [])]
    one = {"settings": settings, "overrides": overrides}
    return Row(dataset, "network", method, f"per_class={number}", 1, {"test": test}, {}, [one])


def test_of_several_rows_of_a_method_that_of_its_own_configuration_is_compared() -> None:
    rows = [
        row("kmex", 10, 1.0), row("kmex", 5, 2.0), row("b4", 10, 3.0), row("b4", 5, 4.0),
        row("protopnet", 5, 5.0, "protopnet"), row("cnn", None, 6.0), row("kmex_1", 1, 7.0), row("b34", 10, 8.0),
        row("kmex", 10, 9.0, dataset="other"),
    ]  # fmt: skip
    for order in (rows, rows[::-1]):
        found = {network.dataset: network for network in networks_of(order)}
        assert {method: one.mean["test"] for method, one in found["data"].methods.items()} == {
            "kmex": 2.0, "b4": 4.0, "protopnet": 5.0, "cnn": 6.0, "kmex_1": 7.0, "b34": 8.0,
        }  # fmt: skip
        assert list(found) == list(dict.fromkeys(one.dataset for one in order))
        assert found["other"].methods["kmex"].mean["test"] == 9.0
    assert [per_class(one) for one in rows[4:7]] == [5, None, 1]


def test_the_paper_s_data_come_before_what_stands_in_for_them() -> None:
    def network(dataset: str) -> Network:
        return networks_of([row("cnn", None, 1.0, dataset=dataset)])[0]

    found = in_columns([network("imagenette"), network("mnist"), network("animals")])
    assert found["cub200"] is None and found["mnist"] is not None and not found["mnist"].stands_in
    assert found["stl10"] is not None and found["stl10"].dataset == "imagenette" and found["stl10"].stands_in
    whole = in_columns([network("imagenette"), network("stl10")])["stl10"]
    assert whole is not None and whole.dataset == "stl10" and not whole.stands_in
    numbers = of_column([PaperNumber("cnn", "test", "86.1", "table 2", "%", "stl10")], found["stl10"])
    assert [(number.dataset, number.value) for number in numbers] == [("imagenette", 86.1)]


def test_sides_of_inputs_and_maps() -> None:
    sizes = {("mnist", "resnet34"): (32, 1), ("animals", "resnet18"): (64, 2), ("shapes", "conv3"): (32, 8)}
    for (dataset, model), sides in sizes.items():
        data = {"image_size": 32} if dataset == "mnist" else {"size": 32} if dataset == "shapes" else {}
        one = Row(dataset, model, "cnn", "", 1, {}, {}, [{"settings": {"data": data}}])
        assert (Network(dataset, model, {"cnn": one}).side, Network(dataset, model, {"cnn": one}).map_side) == sides


def accuracies(cnn: Sequence[float], kmex: Sequence[float], dataset: str = "mnist", train: float = 99.0) -> list[Row]:
    """Rows of table 2 with these test accuracies by seed."""
    return aggregate(
        record(method, {"train": train, "test": test}, dataset, seed)
        for method, values in (("cnn", cnn), ("kmex", kmex))
        for seed, test in enumerate(values)
    )


PAPER = [PaperNumber(method, "test", "99.4", "table 2", "%", "mnist") for method in ("cnn", "kmex")]
PAPER += [
    PaperNumber("cnn", "test", "86.1", "table 2", "%", "stl10"),
    PaperNumber("kmex", "test", "85.6", "table 2", "%", "stl10"),
]


def test_table2_pairs_the_seeds_and_counts_networks_that_fit() -> None:
    rows = accuracies([99.3, 99.5, 99.4], [99.3, 99.5, 99.4])
    text = page("table2", table2.summarise(rows, PAPER), rows, PAPER)
    assert '"verdict": "reproduced"' in text.splitlines()[0]
    assert "| KMEx less CNN, test accuracy, %: mnist | +0.0 | +0.0 [+0.0, +0.0] | 3 seeds, paired | **holds** |" in text
    assert "On mnist the last map is 1 x 1" in text and "32 px | 1 x 1" in text
    unfit = accuracies([99.3, 99.5], [90.0, 90.1], train=59.0)
    text = page("table2", table2.summarise(unfit, PAPER), unfit, PAPER)
    assert "**Not comparable.**" in text and "the paper's claim" not in text
    assert "mnist (59.0 % after 5 epochs) do not fit" in text


def test_table2_says_what_stands_in_the_paper_s_column() -> None:
    rows = accuracies([90.0, 91.0, 90.5], [89.4, 90.6, 90.0], "imagenette")
    text = first_screen(page("table2", table2.summarise(rows, PAPER), rows, PAPER))
    assert "stl10, not comparable: ours is Imagenette, resnet34, 32 px; stl10 is not at hand: train %" in text
    assert "| 85.6 / 90.0 [" in text and "✓ |" not in text  # beside each other, without a verdict on the number
    assert "| KMEx less CNN, test accuracy, %: Imagenette | -0.5 | -0.5 [" in text


def test_table2_compares_no_network_whose_classifier_alone_was_trained() -> None:
    rows = accuracies([81.0, 82.0, 81.5], [73.0, 74.0, 73.5], "cub200_100")
    for each in rows:
        for one in each.records:
            one["settings"]["training"]["frozen"] = {"layer": "layer4"}
    text = first_screen(page("table2", table2.summarise(rows, PAPER), rows, PAPER))
    assert "**Not comparable.**" in text and "the paper's claim" not in text
    assert "KMEx is -8.0 [-8.0, -8.0] points from the CNN (3 seeds): that the classifier fits its training" in text
    assert "| classifier alone |" in text


def test_table1_measures_how_uniform_protopnet_is() -> None:
    cosines = {"cnn": (0.4, 0.0), "kmex_1": (0.9, 0.4), "kmex": (0.8, 0.4), "protopnet": (0.9, 0.5)}
    rows = aggregate(
        record(method, {"class": within + seed / 100, "out": out + seed / 100}, seed=seed)
        for method, (within, out) in cosines.items()
        for seed in (0, 1)
    )
    for each in rows:
        each.mean.update({f"{name}{part}": 0.0 for name in ("nearest_class", "nearest_out") for part in ("", "/test")})  # type: ignore[attr-defined]
    paper = [PaperNumber("protopnet", metric, "1.00", "table 1", "", "mnist") for metric in ("class", "out")]
    text = page("table1", table1.summarise(rows, paper), rows, paper)
    assert (
        "| protopnet, class less out: mnist | +0.00 | +0.40 [+0.40, +0.40] | 2 seeds, paired | **does not hold** |"
        in text
    )
    assert "kmex_1" not in first_screen(text).split("**Our")[0].splitlines()[1]
    assert (
        "| columns are poorer prototypes than class means (cosine with their class): mnist | below 0 | -0.50 [" in text
    )


@pytest.mark.parametrize(
    ("fall", "spread", "gained", "expected"),
    [
        (0.5, 0.1, [1.0], "no loss"),
        (-0.5, 0.6, [1.0], "within the seeds"),
        (-0.5, 0.1, [], "not run"),
        (-4.0, 0.1, [4.0, 5.0], "all"),
        (-4.0, 0.1, [2.0, 5.0], "most"),
        (-4.0, 0.1, [1.9, 5.0], "a part"),
        (-4.0, 0.1, [0.1, -1.0], "nothing"),
    ],
)
def test_what_the_weight_explains(fall: float, spread: float, gained: list[float], expected: str) -> None:
    assert explanation(fall, spread, gained) == expected


def test_block_weight_pairs_the_seeds() -> None:
    tests = {"b4": (90.0, 91.0), "b234": (80.0, 81.2), "b234_sqrt": (86.0, 87.0), "b234_equal": (90.0, 91.0)}
    rows = aggregate(
        record(method, {"train": 99.0, "test": value, "share/layer2": 76.0}, seed=seed)
        for method, values in tests.items()
        for seed, value in enumerate(values)
    )
    summary = block_weight.summarise(rows, [])
    case = summary.facts["cases"][0]
    assert case["fall"].value == pytest.approx(-9.9) and case["gains"]["1"].value == pytest.approx(9.9)
    assert case["explained"] == "most" and case["equal"].value == pytest.approx(0.0)
    assert '"verdict": "reproduced"' in page("block_weight", summary, rows).splitlines()[0]  # paired: -10 and -9.8


def test_subsets_are_stable_down_to_the_share_from_which_all_are() -> None:
    def share(value: float, test: float) -> Row:
        return aggregate([record("kmex", {"test": test}, details={"share": value, "fitted_on": 10})])[0]

    rows = {each: share(each, test) for each, test in ((0.02, 89.5), (0.1, 88.0), (0.3, 89.1), (1, 90.0))}
    found = subsets.over_shares(rows)
    assert found["down_to"] == 0.3 and found["counts"] and found["lost"][0.1].value == pytest.approx(-2.0)
    assert subsets.ruling([found]) == "reproduced"
    assert subsets.ruling([{**found, "down_to": 1}]) == "not reproduced"
    assert subsets.ruling([{**found, "counts": False}]) == "not comparable" and subsets.ruling([]) == "not run"


@pytest.mark.parametrize(("error", "verdict"), [(1e-14, "reproduced"), (1e-9, "not reproduced")])
def test_theorem1_is_judged_by_rounding(error: float, verdict: str) -> None:
    own = {"error/float64": error, "error/float32": 1e-5, "largest": 20.0, "locations": 50.0, "without_bias": 99.0}
    several = {"dominance/start": 50.0, "first_direction/start": 22.0, "first_direction": 50.0, "train": 100.0}
    rows = aggregate(
        [
            record("columns_own", {**own, "top1": 70.0}, "imagenet"),
            *(record("columns_max", {**several, "dominance": 90.0 + seed}, seed=seed) for seed in (0, 1)),
            *(record("columns_average", {**several, "dominance": 55.0 + seed}, seed=seed) for seed in (0, 1)),
            *(
                record("columns_k_means", {"dominance": 37.0, "first_direction": 80.0, "train": 92.0}, seed=s)
                for s in (0, 1)
            ),
        ]
    )
    for each in rows:
        each.records[0]["settings"]["per_class"] = 5  # type: ignore[index]
    text = page("theorem1", theorem1.summarise(rows, []), rows)
    assert f'"verdict": "{verdict}"' in text.splitlines()[0]
    assert (
        "one of 5 columns merged by max wins" in text
        and "| above 0 | +28.0 [" in text
        and "| above 0 | +53.5 [" in text
    )


def test_figure2_compares_the_prototypes_of_a_row() -> None:
    values = {f"{metric}/{kind}": 1.0 for metric in ("own", "distance") for kind in figure2.KINDS}
    values |= {"own/KMEx": 3.0, "own/columns, rescaled": 4.0, "distance/KMEx": 0.5}
    details = {"group": "all", "classes": ["a", "b"], "shown": [90, 10]}
    for dataset, verdict in (("animals", "not comparable"), ("cub200", "not reproduced")):
        rows = aggregate([record("kmex", values, dataset, seed, details=details) for seed in range(2)])
        summary = figure2.summarise(rows, [])
        assert [(one.methods[1], one.metric, one.as_said) for one in summary.facts["everywhere"]] == [
            ("columns", "own", True),
            ("columns, rescaled", "own", False),
            ("columns", "distance", True),
            ("columns, rescaled", "distance", True),
        ]
        text = page("figure2", summary, rows)
        assert f'"verdict": "{verdict}"' in text.splitlines()[0]
        assert "in 2 of 2 comparisons" in text and "more often of their class in 1 of 2" in text


def test_figure1_lists_the_prototypes_of_a_sheet() -> None:
    def methods(*attributions: float) -> dict[str, Any]:
        parts = [{"class": "a", "share": 0.5, "attribution": one, "training_image": 0} for one in attributions]
        return {"predicted": "a", "shape": [1, 2], "prototypes": parts}

    figure = {"methods": ["b4", "b234"], "shown": 1}
    values = {"segments/b4": 1.0, "segments/b234": 2.0, "own/b4": 1.0, "own/b234": 0.5}
    for other, flat in ((1.25, True), (2.0, False)):
        details = {"image": "i-1", "label": "a", "methods": {"b4": methods(1.25), "b234": methods(1.25, other)}}
        one = record("cnn", values, "cub200", details=details)
        one["settings"]["figure"] = figure
        rows = aggregate([one])
        text = page("figure1", figure1.summarise(rows, []), rows)
        assert '"verdict": "reproduced"' in text.splitlines()[0]
        assert "1 and 2 (cub200, a)" in text and "| b234 | 1 x 2 | a | 50 % | +1.250 |" in text
        assert "b234 has 1 more, with 50 % together." in text
        assert ("has one location" in text) is flat
