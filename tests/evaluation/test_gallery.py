"""Pictures by rule, several methods on each, and what they are compared by."""

import json
from math import exp, isnan, nan
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from tests.evaluation.test_feature_maps import CLASSES, LABELS, SHOWN, by_colour, coloured
from xcnn.attribution import ActivationSum, GradCAM
from xcnn.data.pictures import PictureTensors
from xcnn.errors import UserError
from xcnn.evaluation.gallery import Gallery, boxes_kept, compared, correlation, instances_kept, overlaps_kept
from xcnn.evaluation.selection import Rule, choose, select_images
from xcnn.evaluation.subject import Subject

BOXES = (1, 1, 0, 1, 2, 3, 1, 2)  # how many each picture has; the network gets 1, 2, 3, 5, 6 and 7 right
SURE, UNSURE = exp(4 * (0.25 + 0.75 * 20 / 255)), exp(4 * 0.75 * 20 / 255)  # of a red square's red and green, unscaled
RED = SURE / (SURE + UNSURE + 1)  # 0.60, as a green square's; a blue one's is 0.46


def colours(network: nn.Module | None = None, batch: int = 3, offset: float = 0) -> Subject:
    boxes = [torch.tensor([[0.0, 0, 4, 4]]).repeat(n, 1) for n in BOXES]
    pictures = PictureTensors(coloured(SHOWN), torch.tensor(LABELS), boxes, [f"p{place}" for place in range(8)])
    data = SimpleNamespace(pictures=pictures, name="colours", manifest="0" * 16, classes=CLASSES)
    return Subject(network or by_colour(), data, lambda x: x + offset, None, batch=batch)  # type: ignore[arg-type]


def always_red() -> nn.Module:
    network = by_colour()
    with torch.no_grad():
        network.get_parameter("classifier.bias").copy_(torch.tensor([20.0, 0, 0]))
    return network


def gallery(ids: list[str], batch: int = 3, offset: float = 0) -> Gallery:
    subject = colours(batch=batch, offset=offset)
    methods = {"grad_cam": GradCAM(subject.network, "relu"), "activation_sum": ActivationSum(subject.network, "relu")}
    return Gallery.of(subject, methods, select_images([subject], [], ids))


# Which pictures


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"n": 2}, "p1 p2"),
        ({"n": 99}, "p1 p2 p3 p5 p6 p7"),
        ({"n": 99, "confidence": 0.5}, "p1 p2 p5 p6 p7"),
        ({"n": 99, "confidence": RED - 1e-6}, "p1 p2 p5 p6 p7"),
        ({"n": 99, "least_boxes": 2}, "p5 p7"),
        ({"n": 99, "most_boxes": 0}, "p2"),
        ({"n": 99, "least_boxes": 1, "most_boxes": 2}, "p1 p3 p6 p7"),
        ({"n": 99, "distinct": True}, "p1 p2 p3"),
        ({"n": 2, "least_boxes": 1, "distinct": True}, "p1 p3"),
        ({"n": 1, "least_boxes": 3}, "p5"),
    ],
)
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_the_first_right_pictures_that_fit(rule: dict[str, Any], expected: str, batch: int) -> None:
    assert choose([colours(batch=batch)], Rule(**rule)) == tuple(expected.split())


def test_every_network_must_be_right_and_sure() -> None:
    both = [colours(), colours(always_red())]
    assert choose(both, Rule(99)) == choose(both[::-1], Rule(99)) == ("p2", "p5", "p7")
    assert choose(both[1:], Rule(99, confidence=0.9)) == ("p0", "p2", "p4", "p5", "p7")
    for order in (both, both[::-1]):
        with pytest.raises(UserError, match=r"colours has no picture .* confidence=0\.9"):
            choose(order, Rule(99, confidence=0.9))


@pytest.mark.parametrize("wrong", [{"n": 0}, {"n": 1, "confidence": 1.0}, {"n": 1, "least_boxes": 2, "most_boxes": 1}])
def test_rules_that_nothing_fits(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="no picture fits"):
        Rule(**wrong)


def test_pictures_by_several_rules_or_by_name() -> None:
    rules = [{"n": 1, "most_boxes": 1}, {"n": 1, "least_boxes": 3}, {"n": 2}]
    assert select_images([colours()], rules, None).ids == ("p1", "p5", "p2")  # each once
    named = select_images([colours()], rules, ["p6", "p0"])
    assert named.ids == ("p6", "p0") and named.labels.tolist() == [1, 0]
    with pytest.raises(UserError, match="colours has no picture p8, x; its ids are like p0, p1"):
        select_images([colours()], rules, ["p8", "p1", "x"])


# What the methods make of them


@pytest.mark.parametrize("batch", [1, 3])
def test_explanations_are_those_of_the_whole_batch_at_once(batch: int) -> None:
    found = gallery(["p5", "p4", "p1", "p3"], batch)
    images = found.subject.scaled(found.pictures)
    for name, method in found.methods.items():
        whole = method.explain(images)
        torch.testing.assert_close(found.explanations[name].maps, whole.maps)
        assert torch.equal(found.explanations[name].targets, whole.targets)
        assert torch.equal(found.explanations[name].ablations, whole.ablations)
    assert found.predicted == ["red", "blue", "green", "blue"]
    assert found.outputs.confidence[0].item() == pytest.approx(RED, abs=1e-6)
    assert found.titles[:2] == ["red, confidence 0.60", "blue (is red), confidence 0.46"]


def test_what_is_kept_and_what_is_left_of_the_confidence() -> None:
    """Grad-CAM marks the square, a quarter of the picture; the rest's dark yellow held evidence for green as well."""
    found = gallery(["p2", "p5", "p7", "p1"], offset=0.1)  # black is no longer 0 once it is normalised
    square = torch.zeros(8, 8, dtype=torch.bool)
    square[:4, :4] = True
    assert torch.equal(found.kept("grad_cam", 0.25), square.expand(4, 8, 8))
    confidence = exp(1.4) / (exp(1.4) + exp(0.4) + exp(0.3))
    expected = torch.full((4,), confidence, dtype=torch.float64)
    torch.testing.assert_close(found.retained_confidence("grad_cam", 0.25), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(found.retained_confidence("grad_cam", 1.0), found.outputs.confidence)
    assert found.kept("activation_sum", 0.5).sum((1, 2)).tolist() == [32] * 4


def test_each_picture_is_shown_through_its_own_map() -> None:
    ids = ["p2", "p5", "p7", "p1", "p6"]
    torch.manual_seed(0)
    maps = torch.rand(5, 8, 8)
    for batch in (2, 5):
        found = gallery(ids, batch)
        object.__setattr__(found.explanations["grad_cam"], "maps", maps)
        images = found.subject.scaled(found.pictures) * found.kept("grad_cam", 0.5)[:, None]
        with torch.no_grad():
            expected = found.subject.network(images).softmax(1)[torch.arange(5), torch.tensor([0, 0, 0, 1, 1])]
        torch.testing.assert_close(found.retained_confidence("grad_cam", 0.5).float(), expected)


def test_maps_are_kept_at_the_size_of_the_picture() -> None:
    found = gallery(["p2"])
    explanation = found.explanations["grad_cam"]
    object.__setattr__(explanation, "maps", torch.tensor([[[0.0, 1], [0, 0]]]))
    assert found.kept("grad_cam", 1 / 16)[0].nonzero().tolist() == [[0, 6], [0, 7], [1, 6], [1, 7]]


def test_rows_for_the_figures() -> None:
    found = gallery(["p5", "p2"])
    maps = {name: explanation.maps for name, explanation in found.explanations.items()}
    rows = found.rows(
        {"Grad-CAM": maps["grad_cam"], "sum": maps["activation_sum"]}, {"Grad-CAM": ["a", "b"]}, boxes=True
    )
    assert [row.title for row in rows] == found.titles and [len(row.boxes) for row in rows] == [3, 0]
    assert list(rows[1].maps) == ["Grad-CAM", "sum"]
    assert torch.equal(torch.as_tensor(rows[1].maps["Grad-CAM"]), maps["grad_cam"][1])
    assert [row.notes for row in rows] == [{"Grad-CAM": "a"}, {"Grad-CAM": "b"}]
    assert [len(row.boxes) for row in found.rows(maps)] == [0, 0] and found.rows(maps)[0].notes == {}


def test_records_are_plain_and_undefined_is_null() -> None:
    found = gallery(["p5", "p4"])
    records = found.as_records(left={"a": torch.tensor([0.5, nan])}, touched={"a": pd.Series([1, 0])})
    assert json.loads(json.dumps(records, allow_nan=False)) == records
    assert records[1].pop("confidence") == pytest.approx(found.outputs.confidence[1].item())
    assert records[1] == {
        "id": "p4", "label": "red", "predicted": "blue", "boxes": 2, "left": {"a": None}, "touched": {"a": 0.0},
    }  # fmt: skip
    assert records[0]["left"] == {"a": 0.5}


# What they are compared by


def test_correlation_is_pearsons_and_undefined_for_a_constant_map() -> None:
    torch.manual_seed(0)
    maps, others = torch.randn(3, 4, 5), torch.randn(3, 4, 5)
    maps[2] = 0.1
    maps[2, 0, 0] = maps[2, 0, 0].nextafter(torch.tensor(1.0))  # constant, but for rounding
    found = correlation(maps, others)
    for place in range(2):
        expected = np.corrcoef(maps[place].flatten().double(), others[place].flatten().double())[0, 1]
        assert found[place].item() == pytest.approx(expected, abs=1e-12)
    assert isnan(found[2]) and isnan(correlation(others, maps)[2])
    torch.testing.assert_close(correlation(others, 3 - 2 * others), -torch.ones(3, dtype=torch.float64))


def test_share_of_each_box_that_is_kept() -> None:
    kept = torch.zeros(2, 4, 6, dtype=torch.bool)
    kept[0, :2, :3] = True
    boxes = [
        torch.tensor([[0.0, 0, 6, 4], [2, 1, 4, 3], [3, 0, 6, 4], [1, 1, 3, 2], [0.6, 0, 0.9, 4]]),
        torch.empty(0, 4),
    ]
    found = boxes_kept(kept, boxes)
    assert [share.tolist() for share in found] == [[6 / 24, 1 / 4, 0, 1], []]  # the last box holds no pixel's centre


def test_instances_that_a_map_keeps() -> None:
    left_half = torch.zeros(2, 4, 4, dtype=torch.bool)
    left_half[:, :, :2] = True
    boxes = [torch.tensor([[0.0, 0, 2, 4], [2, 0, 4, 4]]), torch.tensor([[0.0, 0, 2, 4], [1, 0, 3, 4], [0, 0, 4, 1]])]
    shown = SimpleNamespace(kept=lambda method, fraction: left_half, pictures=SimpleNamespace(boxes=boxes))
    found = instances_kept(shown, "grad_cam", 0.5)  # type: ignore[arg-type]
    assert found.to_dict("list") == {
        "covered": [0.5, 1.0],  # half of a box is enough
        "touched": [0.5, 1.0],
        "all_covered": [0.0, 1.0],
        "all_touched": [0.0, 1.0],
        "one_touched": [1.0, 0.0],
    }


def test_overlaps_of_what_a_map_keeps() -> None:
    maps = torch.arange(16.0).flip(0).reshape(1, 4, 4)  # from the top down
    pictures = SimpleNamespace(images=torch.zeros(1, 3, 4, 4), boxes=[torch.tensor([[0.0, 0, 4, 2]])])
    shown = SimpleNamespace(explanations={"cam": SimpleNamespace(maps=maps)}, pictures=pictures)
    found = overlaps_kept(shown, "cam", [0.25, 0.75])  # type: ignore[arg-type]
    assert found.iloc[0].to_dict() == pytest.approx(
        {
            "precision@25%": 1,
            "recall@25%": 0.5,
            "iou@25%": 0.5,
            "precision@75%": 2 / 3,
            "recall@75%": 1,
            "iou@75%": 2 / 3,
        }
    )


def test_methods_against_the_reference_picture_by_picture() -> None:
    one = pd.DataFrame({"iou": [0.1, 0.5, 0.3], "hit": [0.0, 1.0, nan]})
    other = pd.DataFrame({"iou": [0.2, 0.6, 0.4], "hit": [1.0, 0.0, 1.0]})
    values = compared({"a": one, "b": other}, "a")
    assert values["iou/a"] == pytest.approx(0.3) and values["hit/a"] == 0.5
    assert values["iou.less/b"] == pytest.approx(0.1) and values["hit.less/b"] == 0
    assert values["iou.less_low/b"] == pytest.approx(0.1)  # the same in every picture, unlike the means
    assert values["iou.low/b"] < 0.4 < values["iou.high/b"]
    assert not [name for name in values if name.startswith("iou.less") and name.endswith("/a")]
