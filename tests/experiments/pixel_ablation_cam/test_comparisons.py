"""Rows by method, blind controls, and the words that pages make of them."""

import math
from typing import Any

import pytest
from scipy.stats import t

from experiments.pixel_ablation_cam.comparisons import as_good, by_method, claims_of, over_shown
from tests.report.test_tables import record
from xcnn.launch.titles import titled
from xcnn.report import Row, aggregate, claim
from xcnn.report.page import environment
from xcnn.report.provenance import REPOSITORY

METHODS = ["grad_cam", "pixel_ablation_cam"]


def row(pictures: Any = (), **values: float) -> Row:
    """A cell that compared several methods: `iou__grad_cam` is its `iou/grad_cam`, `iou_low__` its `iou.low/`."""
    named = {name.replace("__", "/").replace("_less", ".less"): value for name, value in values.items()}
    return aggregate([record(**named) | {"n": 200, "details": {"pictures": list(pictures)}}])[0]


def say(macro: str, *arguments: Any) -> str:
    """What a macro of the paper's pages writes."""
    known = environment(REPOSITORY / "experiments")
    known.filters |= {"titled": titled, "quantity": str.upper}
    known.globals |= {"titled": titled, "quantity": str.upper}
    return str(getattr(known.get_template("pixel_ablation_cam/macros.jinja").module, macro)(*arguments))


def test_a_cell_of_several_methods_is_a_row_for_each() -> None:
    found = row(
        iou__grad_cam=0.5, iou__pixel_ablation_cam=0.6, iou_less__pixel_ablation_cam=0.1,
        iou_less_low__pixel_ablation_cam=0.05, iou_less_high__pixel_ablation_cam=0.15,
    )  # fmt: skip
    rows = by_method(found, METHODS)
    assert [(each.method, each.mean["iou"]) for each in rows] == [("grad_cam", 0.5), ("pixel_ablation_cam", 0.6)]
    (one,) = claims_of(rows, {"iou": "higher"})
    assert one.verdict == "holds" and one.difference is not None
    assert (one.difference.low, one.difference.high, one.difference.n) == (0.05, 0.15, 200)
    assert claims_of(rows, {"iou": "lower"})[0].verdict == "does not hold"


def test_images_shown_are_few_so_students_t_says_how_far_methods_differ() -> None:
    kept = [(0.1, 0.3), (0.2, 0.2), (0.5, 0.9)]
    rows = over_shown(row([{"left": dict(zip(METHODS, pair, strict=True))} for pair in kept]), "left", METHODS)
    assert [each.mean["left"] for each in rows] == pytest.approx([0.8 / 3, 1.4 / 3])
    found = claim(rows, "left", "pixel_ablation_cam", "grad_cam", "higher").difference
    assert found is not None and found.n == 3 and found.value == pytest.approx(0.2)
    assert found.high - 0.2 == pytest.approx(t.ppf(0.975, 2) * 0.2 / math.sqrt(3))  # 0.2, 0 and 0.4 deviate by 0.2


def test_controls_that_do_as_well_are_found_and_said() -> None:
    found = row(
        iou__grad_cam=0.5, iou__pixel_ablation_cam=0.4, iou__random=0.5, iou__centre=0.45,
        energy__grad_cam=0.7, energy__pixel_ablation_cam=0.8, energy__random=0.6, energy__centre=0.6,
        deletion__grad_cam=0.2, deletion__pixel_ablation_cam=0.2, deletion__random=0.3, deletion__centre=0.1,
    )  # fmt: skip
    rows = by_method(found, [*METHODS, "random", "centre"])
    blind = as_good(rows, {"iou": "higher", "energy": "higher", "deletion": "lower"}, METHODS)
    assert blind == {
        "grad_cam": {("random",): ["iou"], ("centre",): ["deletion"]},
        "pixel_ablation_cam": {("centre", "random"): ["iou"], ("centre",): ["deletion"]},
    }
    assert say("controls", blind).startswith(
        "Controls that are blind to the class do as well or better: than Grad-CAM, random map in IOU, and centre in "
        "DELETION; than Pixel Ablation-CAM, centre, random map in IOU, and centre in DELETION."
    )
    assert as_good(rows, {"energy": "higher"}, METHODS) == {}
    assert say("controls", {}) == "No control that is blind to the class does as well as a method."


@pytest.mark.parametrize(
    ("rule", "networks", "words"),
    [
        ({"n": 1}, ["resnet50"], "the first image of the list that ResNet-50 gets right"),
        (
            {"n": 5, "confidence": 0.5, "least_boxes": 1, "most_boxes": 1, "distinct": True},
            ["resnet50"],
            "the first 5 images of the list that ResNet-50 gets right with a confidence above 0.5, that have 1 box, no "
            "two of one class",
        ),
        (
            {"n": 1, "least_boxes": 3},
            ["resnet50"],
            "the first image of the list that ResNet-50 gets right, that has 3 boxes or more",
        ),
        (
            {"n": 2, "least_boxes": 1, "most_boxes": 4},
            ["resnet50", "vgg16"],
            "the first 2 images of the list that ResNet-50 and VGG-16 get right, that have 1 to 4 boxes",
        ),
        ({"n": 2, "most_boxes": 0}, ["a"], "the first 2 images of the list that a gets right, that have 0 boxes"),
    ],
)
def test_rules_in_words(rule: dict[str, Any], networks: list[str], words: str) -> None:
    assert say("selection", {"rules": [rule], "pictures": None}, networks) == words
    assert say("selection", {"rules": [rule, rule], "pictures": None}, networks) == f"{words}; {words}"
    assert say("selection", {"rules": [rule], "pictures": ["a"]}, networks) == "the images named by `figure.pictures`"


def test_where_the_weights_come_from() -> None:
    known = {"model": "resnet50", "weights": "0123", "weights_provenance": "quantised"}
    assert say("origin", known) == "ResNet-50: quantised"
    assert say("origin", {**known, "weights_provenance": None}) == "ResNet-50: unknown provenance, hash 0123"
    assert say("origin", {"model": "vgg16", "weights": None}) == "VGG-16: random weights"
