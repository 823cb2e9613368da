"""The measured describer on maps whose every measurement can be made by hand."""

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy import ndimage

from xcnn.language import Description, FilterEvidence, MeasuredDescriber
from xcnn.language.measured import measure

Make = Callable[..., FilterEvidence]


def claims(evidence: FilterEvidence) -> dict[str, Any]:
    return {claim.kind: claim.value for claim in measure(evidence)}


def map_(size: int, *cells: tuple[int | slice, int | slice]) -> torch.Tensor:
    activation = torch.zeros(size, size)
    for cell in cells:
        activation[cell] = 3
    return activation


def test_single_pixel(evidence: Make) -> None:
    said = claims(evidence(map_(8, (0, 6))))
    assert said["area"] == pytest.approx(1 / 64, abs=1e-6)
    assert said["dispersion"] == 0
    assert said["components"] == 1
    assert said["position"] == "top right"
    assert said["border"] == ["top"]
    assert "orientation" not in said


def test_two_opposite_corners(evidence: Make) -> None:
    said = claims(evidence(map_(8, (0, 0), (7, 7))))
    assert said["dispersion"] == pytest.approx(7 / 16 * math.sqrt(2), abs=1e-6)  # the specification's 0.62
    assert said["components"] == 2
    assert said["position"] == "centre"
    assert said["orientation"] == "falling diagonal"
    assert said["border"] == ["top", "bottom", "left", "right"]


def test_full_map(evidence: Make) -> None:
    said = claims(evidence(map_(8, (slice(None), slice(None)))))
    assert said["area"] == 1
    assert said["dispersion"] == pytest.approx(math.sqrt(2 * (64 - 1) / 12) / 8, abs=1e-6)  # the specification's 0.41
    assert said["components"] == 1
    assert "orientation" not in said


@pytest.mark.parametrize(
    ("cells", "orientation"),
    [
        ([(slice(1, 7), 2)], "vertical"),
        ([(5, slice(0, 5))], "horizontal"),
        ([(i, i) for i in range(5)], "falling diagonal"),
        ([(6 - i, i) for i in range(5)], "rising diagonal"),
    ],
)
def test_orientation(evidence: Make, cells: list, orientation: str) -> None:
    said = claims(evidence(map_(8, *cells)))
    assert said["orientation"] == orientation
    assert said["components"] == 1  # diagonal neighbours are joined


def test_elongation_is_of_cells_and_not_of_points(evidence: Make) -> None:
    # Standard deviations of a 1 x n bar of squares are n and 1 over sqrt 12: two cells are just elongated enough.
    assert claims(evidence(map_(8, (3, slice(3, 5)))))["orientation"] == "horizontal"
    # On an image twice as high as wide each cell is too, and the bar of two is a square.
    assert "orientation" not in claims(evidence(map_(8, (3, slice(3, 5))), image=torch.full((3, 64, 32), 0.5)))


@pytest.mark.parametrize("row", range(3))
@pytest.mark.parametrize("column", range(3))
def test_position(evidence: Make, row: int, column: int) -> None:
    name = f"{('top', '', 'bottom')[row]} {('left', '', 'right')[column]}".strip() or "centre"
    assert claims(evidence(map_(3, (row, column))))["position"] == name


def test_threshold_is_relative_to_the_maximum(evidence: Make) -> None:
    activation = torch.tensor([[10.0, 1.0], [1.5, 0.5]])
    assert claims(evidence(activation))["area"] == 0.5  # 1.0 is not above a tenth of 10
    assert claims(evidence(activation * 1e-3, threshold=0.04))["area"] == 1


def test_components_agree_with_scipy(evidence: Make) -> None:
    for seed in range(20):
        activation = torch.rand(12, 12, generator=torch.Generator().manual_seed(seed)).sub(0.7).relu()
        labelled = ndimage.label((activation > 0.1 * activation.max()).numpy(), structure=[[1] * 3] * 3)[1]
        assert claims(evidence(activation))["components"] == labelled


def test_colours_under_the_map(evidence: Make) -> None:
    image = torch.zeros(3, 32, 32)
    image[2, :, :16] = 1  # blue on the left
    image[0, :, 16:] = 1  # red on the right
    # A left column of 8 cells covers 4 px and, interpolated, falls below a tenth of its maximum 3.6 cells from it.
    assert claims(evidence(map_(8, (slice(None), 0)), image=image))["colours"] == {"blue": 1.0}
    assert claims(evidence(map_(8, (slice(None), 7)), image=image))["colours"] == {"red": 1.0}
    # Columns 3 to 4 straddle the edge, symmetrically.
    assert claims(evidence(map_(8, (slice(None), slice(3, 5))), image=image))["colours"] == {"red": 0.5, "blue": 0.5}


def test_minor_colours_are_not_named(evidence: Make) -> None:
    image = torch.full((3, 10, 10), 0.5)
    image[:, 0] = torch.tensor([1.0, 0, 0])[:, None]  # a tenth of the picture
    assert claims(evidence(torch.ones(10, 10), image=image))["colours"] == {"grey": 0.9}


def test_edges(evidence: Make) -> None:
    image = torch.zeros(3, 32, 32)
    image[:, :, 16:] = 1
    assert claims(evidence(torch.ones(8, 8), image=image))["edges"] == 2 / 32  # the two columns at the step
    assert claims(evidence(torch.ones(8, 8)))["edges"] == 0


def test_classes_and_score(evidence: Make) -> None:
    said = claims(evidence(torch.ones(4, 4)))
    assert said["fires_for"] == {"bird": pytest.approx(0.91), "cat": pytest.approx(0.72)}
    assert list(said["fires_for"]) == ["bird", "cat"]
    assert said["score"] == {"bird": 0.0312}
    assert claims(evidence(torch.ones(4, 4), auroc=torch.full((4,), 0.9)))["fires_for"].keys() == {
        "airplane",
        "automobile",
        "bird",
    }
    assert "fires_for" not in claims(evidence(torch.ones(4, 4), auroc=torch.full((4,), float("nan"))))


def test_text(evidence: Make) -> None:
    text = MeasuredDescriber().describe(evidence(map_(8, (slice(1, 7), 0)))).text
    assert text == (
        "Measured, no language model: filter 7 of relu3 is active on 9% of the map, in one region, around the left "
        "(dispersion 0.21), elongated vertically and touching the left border. The image there is grey (100%), with "
        "edges on 0% of the pixels. It fires for bird (AUROC 0.91) and cat (AUROC 0.72); switched on alone it raises "
        "the probability of bird by 0.031, while the network predicts cat."
    )


def test_text_of_two_regions_a_negative_score_and_no_class(evidence: Make) -> None:
    found = evidence(map_(8, (0, 0), (7, 7)), score=-0.0004, predicted="bird", auroc=torch.full((4,), 0.5))
    text = MeasuredDescriber().describe(found).text
    assert "in 2 regions, around the centre (dispersion 0.62), spread along the falling diagonal and touching" in text
    assert text.endswith(
        "It fires for no class in particular; switched on alone it lowers the probability of bird by 0.0004."
    )


def test_dead_map_says_only_that(evidence: Make) -> None:
    description = MeasuredDescriber().describe(evidence(torch.zeros(8, 8)))
    assert description.text == "Measured, no language model: filter 7 of relu3 is dead on this image."
    assert [(claim.kind, claim.value) for claim in description.claims] == [("dead", True)]


def test_survives_json(random_evidence: Make) -> None:
    found = random_evidence(3)
    description = MeasuredDescriber().describe(found)
    assert Description.from_dict(json.loads(json.dumps(description.to_dict(), allow_nan=False))) == description
    assert (description.provider, description.model, description.prompt_hash) == ("measured", None, None)
    assert description.evidence_hash == found.evidence_hash
