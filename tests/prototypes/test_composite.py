"""Eqs. 7 and 8 written out by hand."""

import math

import pytest
import torch
from torch import Tensor

from xcnn.errors import UserError
from xcnn.prototypes import composite
from xcnn.prototypes.composite import check_options, products, resize


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def doubling(interpolation: str) -> Tensor:
    """(4, 2): the weights by which 2 samples become 4, `align_corners=False`, borders repeated."""
    if interpolation == "bilinear":
        return torch.tensor([[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]], dtype=torch.float64)

    def cubic(t: float) -> float:  # Keys's kernel with a = -0.75
        t, a = abs(t), -0.75
        return (a + 2) * t**3 - (a + 3) * t**2 + 1 if t <= 1 else a * (t**3 - 5 * t**2 + 8 * t - 4)

    weights = torch.zeros(4, 2, dtype=torch.float64)
    for out in range(4):
        place = (out + 0.5) / 2 - 0.5
        for tap in range(math.floor(place) - 1, math.floor(place) + 3):
            weights[out, min(max(tap, 0), 1)] += cubic(place - tap)
    return weights


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("norm", ["row", "map"])
@pytest.mark.parametrize(
    ("block_weight", "factors"), [("1/D", (1, 3 / 5)), ("1/sqrt(D)", (1, math.sqrt(3 / 5))), ("1", (1, 1))]
)
def test_two_blocks_by_hand(block_weight: str, factors: tuple[float, float], norm: str, interpolation: str) -> None:
    shallow, deep = normal(2, 3, 4, 4), normal(2, 5, 2, 2, seed=1)
    kept = shallow.clone(), deep.clone()
    rows = composite([shallow, deep], block_weight, norm, interpolation)
    assert rows.shape == (2, 4, 4, 8)
    weights = doubling(interpolation)
    for n in range(2):
        enlarged = torch.stack([weights @ channel @ weights.T for channel in deep[n]])
        for y in range(4):
            for x in range(4):
                expected = []
                for block, factor in zip((shallow[n], enlarged), factors, strict=True):
                    one = block[:, y, x]
                    length = one.norm() if norm == "row" else (block.square().sum() / 16).sqrt()
                    expected.append(factor * one / length)
                torch.testing.assert_close(rows[n, y, x], torch.cat(expected), rtol=0, atol=1e-13)
    assert torch.equal(shallow, kept[0]) and torch.equal(deep, kept[1])


def test_the_shallow_block_decides_under_1_over_d() -> None:
    maps = [normal(2, channels, side, side) for channels, side in ((128, 4), (256, 2), (512, 1))]
    squared = composite(maps).square()
    parts = torch.stack([part.sum(3) for part in squared.split([128, 256, 512], 3)])
    shares = (parts / parts.sum(0)).amin((1, 2, 3)), (parts / parts.sum(0)).amax((1, 2, 3))
    for found in shares:  # 16 : 4 : 1 at every location, which is 76, 19 and 5 %
        torch.testing.assert_close(found, torch.tensor([16, 4, 1], dtype=torch.float64) / 21)
    assert [round(100 * share) for share in shares[0].tolist()] == [76, 19, 5]


@pytest.mark.parametrize("norm", ["row", "map"])
def test_a_location_without_activity_stays_zero(norm: str) -> None:
    shallow, deep = normal(2, 3, 4, 4), normal(2, 5, 2, 2, seed=1)
    shallow[0, :, 1, 2] = 0
    deep[1] = 0
    rows = composite([shallow, deep], norm=norm)
    assert rows.isfinite().all()
    assert not rows[0, 1, 2, :3].any() and not rows[1, ..., 3:].any()
    assert rows[0, 1, 2, 3:].all() and rows[1, ..., :3].all()


def test_rows_of_one_block_are_its_unit_vectors() -> None:
    maps = normal(2, 4, 3, 3)
    rows = composite([maps])
    torch.testing.assert_close(rows.norm(dim=3), torch.ones(2, 3, 3, dtype=torch.float64), rtol=0, atol=1e-14)
    torch.testing.assert_close(rows, (maps / maps.norm(dim=1, keepdim=True)).permute(0, 2, 3, 1), rtol=0, atol=1e-14)


def test_map_norm_makes_rows_of_norm_1_on_average() -> None:
    rows = composite([normal(3, 4, 4, 4)], norm="map")
    squares = rows.square().sum(3)
    torch.testing.assert_close(squares.mean((1, 2)), torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-13)
    assert squares.std() > 0.1


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("norm", ["row", "map"])
@pytest.mark.parametrize("block_weight", ["1/D", "1/sqrt(D)", "1"])
def test_products_are_those_of_the_rows(block_weight: str, norm: str, interpolation: str) -> None:
    maps = [normal(2, channels, side, side, seed=channels) for channels, side in ((3, 6), (5, 3), (5, 3), (7, 1))]
    maps[0][0, :, 1, 2] = 0  # a location without activity, and a whole map
    maps[2][1] = 0
    kept, columns = [part.clone() for part in maps], normal(4, 20, seed=1)
    rows = composite(maps, block_weight, norm, interpolation)
    found, squared = products(maps, columns, block_weight, norm, interpolation)
    torch.testing.assert_close(found, rows @ columns.T, rtol=0, atol=1e-13)
    torch.testing.assert_close(squared, rows.square().sum(3, keepdim=True), rtol=0, atol=1e-13)
    assert all(torch.equal(part, before) for part, before in zip(maps, kept, strict=True))
    for batch in (maps, [part.to(memory_format=torch.channels_last) for part in maps], [part[:0] for part in maps]):
        part, _ = products(batch, columns, block_weight, norm, interpolation)
        torch.testing.assert_close(part, found[: len(batch[0])], rtol=0, atol=1e-13)


@pytest.mark.parametrize(("small", "large"), [((2, 2), (4, 4)), ((3, 3), (6, 6)), ((1, 2), (4, 6)), ((7, 7), (14, 14))])
def test_bilinear_enlargement_by_a_whole_number_keeps_means(small: tuple[int, int], large: tuple[int, int]) -> None:
    maps = normal(2, 3, *small)
    torch.testing.assert_close(resize(maps, large).mean((2, 3)), maps.mean((2, 3)), rtol=0, atol=1e-14)
    assert resize(maps, small) is maps


def test_bicubic_enlargement_does_not_keep_means() -> None:
    maps = normal(2, 3, 3, 3)
    assert (resize(maps, (6, 6), "bicubic").mean((2, 3)) - maps.mean((2, 3))).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("1/D^2", "row", "bilinear"), r"block_weight must be one of 1/D, 1/sqrt\(D\), 1, not '1/D\^2'"),
        (("1", "column", "bilinear"), "norm must be one of row, map, not 'column'"),
        (("1", "row", "nearest"), "interpolation must be one of bilinear, bicubic, not 'nearest'"),
    ],
)
def test_choices_that_there_are_not(options: tuple[str, str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_options(*options)
