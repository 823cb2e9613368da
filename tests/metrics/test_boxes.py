"""Boxes against hand-computed masks and overlaps, and torchvision's IoU."""

import pytest
import torch
from torchvision.ops import box_iou

from xcnn.errors import UserError
from xcnn.metrics import box_iou_best, box_mask, box_masks, energy_inside, iou, largest_component_box, localised

NONE = torch.zeros(0, 4)


def test_mask_has_exclusive_edges_and_is_the_union() -> None:
    boxes = torch.tensor([[1.0, 0.0, 3.0, 2.0], [2.0, 1.0, 9.0, 3.0]])  # the second runs over the border
    expected = torch.tensor([[0, 1, 1, 0, 0], [0, 1, 1, 1, 1], [0, 0, 1, 1, 1], [0, 0, 0, 0, 0]], dtype=torch.bool)
    assert torch.equal(box_mask(boxes, (4, 5)), expected)


def test_fractional_edges_take_the_pixels_whose_centre_is_inside() -> None:
    assert box_mask(torch.tensor([[0.4, 0.0, 2.5, 1.0]]), (1, 4)).tolist() == [[True, True, False, False]]
    assert box_mask(torch.tensor([[0.6, 0.0, 2.6, 1.0]]), (1, 4)).tolist() == [[False, True, True, False]]
    assert box_mask(torch.tensor([[0.5, 0.0, 2.5, 1.0]]), (1, 4)).tolist() == [[True, True, False, False]]


def test_masks_of_images_with_and_without_boxes() -> None:
    masks = box_masks([torch.tensor([[0.0, 0.0, 1.0, 2.0]]), NONE], (2, 2))
    assert masks.tolist() == [[[True, False], [True, False]], [[False, False], [False, False]]]
    for scores in (energy_inside(torch.ones(2, 2, 2), masks), iou(torch.ones(2, 2, 2), masks)):
        assert scores[0] == 0.5 and scores[1].isnan()


def test_box_of_the_largest_component() -> None:
    maps = torch.zeros(3, 6, 8)
    maps[0, 1:3, 5:8] = 1  # 6 pixels, the brightest
    maps[0, 3:6, 0:3] = 0.2  # 9 pixels above 0.15
    maps[0, 0, 0:5] = 0.15  # not above it, or it would join
    maps[1, 2, 3] = 5.0
    maps[1, 3, 4] = 1.0  # touches at a corner
    assert largest_component_box(maps).tolist() == [[0, 3, 3, 6], [3, 2, 5, 4], [0, 0, 0, 0]]
    assert largest_component_box(maps, threshold=0.2).tolist() == [[5, 1, 8, 3], [3, 2, 4, 3], [0, 0, 0, 0]]
    assert largest_component_box(maps - 2).tolist()[0] == [0, 0, 0, 0]  # all below 0: nothing is marked
    assert largest_component_box(maps[:0]).shape == (0, 4)


def test_best_iou_by_hand() -> None:
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0]] * 3)
    truth = [torch.tensor([[5.0, 5.0, 9.0, 9.0], [2.0, 0.0, 6.0, 4.0]]), torch.tensor([[0.0, 0.0, 4.0, 8.0]]), NONE]
    best = box_iou_best(boxes, truth)
    torch.testing.assert_close(best, torch.tensor([8 / 24, 0.5, torch.nan]), equal_nan=True)
    torch.testing.assert_close(localised(best), torch.tensor([0.0, 1.0, torch.nan]), equal_nan=True)


def test_box_and_iou_of_rectangles_against_their_masks() -> None:
    generator = torch.Generator().manual_seed(0)
    low = torch.randint(0, 20, (16, 2), generator=generator)
    boxes = torch.cat([low, low + torch.randint(1, 20, (16, 2), generator=generator)], dim=1).float()
    masks = box_masks(list(boxes.split(1)), (40, 40))
    found = largest_component_box(masks.float())
    assert torch.equal(found, boxes)
    overlaps = box_iou_best(found, [boxes] * 16)
    assert torch.equal(overlaps, torch.ones(16))
    others = boxes.flip(0)
    torch.testing.assert_close(box_iou_best(found, list(others.split(1))), box_iou(boxes, others).diagonal())
    pixels = (masks & masks.flip(0)).sum((1, 2)) / (masks | masks.flip(0)).sum((1, 2))
    torch.testing.assert_close(box_iou_best(found, list(others.split(1))), pixels)


def test_map_without_a_segment_finds_nothing() -> None:
    boxes = largest_component_box(torch.zeros(1, 4, 4))
    assert box_iou_best(boxes, [torch.tensor([[0.0, 0.0, 2.0, 2.0]])]).tolist() == [0]


def test_refusals() -> None:
    with pytest.raises(UserError, match="x0, y0, x1, y1"):
        box_mask(torch.zeros(4), (2, 2))
    with pytest.raises(UserError, match="one for each"):
        box_iou_best(torch.zeros(2, 4), [NONE])
    with pytest.raises(UserError, match="NaN"):
        largest_component_box(torch.full((1, 2, 2), torch.nan))
    with pytest.raises(UserError, match=r"\[0, 1\)"):
        largest_component_box(torch.zeros(1, 2, 2), threshold=1)
