"""Orders and sides, counted."""

from collections import Counter

from xcnn.apps.study.balance import block, sides, with_checks

ITEMS = [10, 11, 12, 13, 14, 15, 16, 17, 18, 19]
CHOICES = ("a", "b", "c")


def test_complete_blocks_show_every_order_of_every_image_alike() -> None:
    shown = Counter(
        (item, *sides(CHOICES, order)) for rater in range(6) for item, order in block(ITEMS, rater, len(ITEMS), 0)
    )
    assert len(shown) == 6 * len(ITEMS) and set(shown.values()) == {1}


def test_a_raters_sides_are_balanced() -> None:
    left = Counter(sides(CHOICES, order)[0] for _, order in block(list(range(30)), 4, 30, 0))
    assert left == {"a": 10, "b": 10, "c": 10}


def test_incomplete_blocks_show_every_image_and_order_alike() -> None:
    """Four of ten images each: after fifteen raters each image was shown six times, once in each order."""
    blocks = [block(ITEMS, rater, 4, 1) for rater in range(15)]
    assert all(len({item for item, _ in each}) == 4 for each in blocks)
    assert set(Counter(item for each in blocks for item, _ in each).values()) == {6}
    orders = Counter((item, order % 6) for each in blocks for item, order in each)
    assert set(orders.values()) == {1}


def test_order_is_the_raters_own_and_comes_again() -> None:
    first, second = block(ITEMS, 0, 10, 0), block(ITEMS, 1, 10, 0)
    assert [item for item, _ in first] != [item for item, _ in second]
    assert sorted(item for item, _ in first) == ITEMS
    assert block(ITEMS, 0, 10, 0) == first


def test_checks_are_spread() -> None:
    shown = [(item, 0) for item in range(9)]
    found = with_checks(shown, [(100, 0), (101, 0)])
    assert [item for item, _ in found] == [0, 1, 2, 100, 3, 4, 5, 101, 6, 7, 8]
