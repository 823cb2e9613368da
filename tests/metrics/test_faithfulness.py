"""Drop, increase and wins, and the protocols' masks and fills, against values computed by hand."""

import pytest
import torch
from torch import Tensor

from xcnn.errors import UserError
from xcnn.metrics.faithfulness import (
    FILLS,
    KEEPS,
    Outputs,
    Protocol,
    average_drop,
    drop_share,
    increase,
    increased,
    protocols,
    wins,
)

NAN = float("nan")


def same(actual: Tensor, expected: object) -> None:
    torch.testing.assert_close(actual, torch.tensor(expected, dtype=actual.dtype), equal_nan=True)


# What is kept


def map_(*rows: list[float]) -> Tensor:
    return torch.tensor([rows], dtype=torch.float64)


def test_top_fraction_by_hand() -> None:
    maps = map_([3, -1, 2], [5, 0, 4])
    same(KEEPS["top_fraction"](maps, 0.5), [[[1, 0, 0], [1, 0, 1]]])
    same(KEEPS["top_fraction"](maps, 1), [[[1, 1, 1], [1, 1, 1]]])
    same(KEEPS["top_fraction"](maps, 0.05), [[[0, 0, 0], [0, 0, 0]]])  # 0.3 of a pixel
    same(KEEPS["top_fraction"](-maps, 1 / 3), [[[0, 1, 0], [0, 1, 0]]])


def test_ties_are_kept_in_reading_order() -> None:
    maps = torch.cat([map_([1, 7, 1], [1, 1, 1]), map_([0, 0, 0], [0, 0, 0]), map_([2, 9, 2], [2, 1, 3])])
    same(
        KEEPS["top_fraction"](maps, 0.5),
        [[[1, 1, 1], [0, 0, 0]], [[1, 1, 1], [0, 0, 0]], [[1, 1, 0], [0, 0, 1]]],
    )


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
def test_top_fraction_is_a_stable_sorts(fraction: float) -> None:
    generator = torch.Generator().manual_seed(0)
    smooth = torch.rand(4, 21, 31, generator=generator)
    coarse = torch.randint(-2, 3, (4, 21, 31), generator=generator).float()  # nearly all pixels are tied
    maps = torch.cat([smooth, coarse, (smooth - 0.95).clamp(min=0)])
    masks = KEEPS["top_fraction"](maps, fraction)
    n_kept = round(fraction * 21 * 31)
    assert (masks.sum((1, 2)) == n_kept).all()
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)[:, :n_kept]
    assert torch.equal(masks.flatten(1), torch.zeros(12, 21 * 31).scatter_(1, order, 1))


def test_threshold_by_hand() -> None:
    maps = torch.cat([map_([10, 2, 1.9], [0, -10, 5]), map_([0, 1, 0], [0.4, -1, 0.1])])
    same(KEEPS["threshold"](maps, 0.2), [[[1, 1, 0], [0, 0, 1]], [[0, 1, 0], [1, 0, 0]]])
    same(KEEPS["threshold"](maps, 0.5), [[[1, 0, 0], [0, 0, 1]], [[0, 1, 0], [0, 0, 0]]])
    nothing = torch.cat([map_([0, 0, 0], [0, -1, 0]), map_([-3, -2, -1], [-4, -5, -6])])
    assert not KEEPS["threshold"](nothing, 0.2).any()
    tiny = torch.tensor([[[1e-45, 0]]])  # a fifth of it is 0, which must not keep zeros
    same(KEEPS["threshold"](tiny, 0.2), [[[1, 0]]])


def test_soft_by_hand() -> None:
    maps = torch.cat([map_([10, 2, 4], [0, 10, 5]), map_([3, 3, 3], [3, 3, 3]), map_([-4, 0, 4], [2, -2, 1])])
    expected = [[[1, 0.2, 0.4], [0, 1, 0.5]], [[0] * 3] * 2, [[0, 0.5, 1], [0.75, 0.25, 0.625]]]
    same(KEEPS["soft"](maps, 0.2), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("keep", KEEPS)
def test_masks_follow_the_maps_dtype_and_not_their_scale(keep: str, dtype: torch.dtype) -> None:
    maps = torch.rand(3, 9, 12, generator=torch.Generator().manual_seed(1)).to(dtype)
    masks = Protocol(keep, "black").masks(maps)
    assert masks.dtype == dtype and masks.shape == maps.shape
    assert masks.min() >= 0 and masks.max() == 1
    assert torch.equal(Protocol(keep, "black").masks(maps * 1024), masks)


def test_protocol_passes_its_fraction() -> None:
    maps = torch.rand(2, 10, 10)
    assert Protocol("top_fraction", "mean", 0.37).masks(maps).sum((1, 2)).tolist() == [37, 37]
    assert torch.equal(Protocol("threshold", "mean", 0.9).masks(maps), KEEPS["threshold"](maps, 0.9))
    assert Protocol("top_fraction", "mean").masks(maps).sum((1, 2)).tolist() == [20, 20]


# What stands in the rest's place


def normalise(images: Tensor) -> Tensor:
    return (images - 0.5) / 0.25


def test_fills_by_hand() -> None:
    images = torch.tensor([1, 0.75, 0.25]).expand(1, 3, 3).reshape(1, 3, 1, 3)
    masks = torch.tensor([[[1, 0, 0.5]]])
    black = Protocol("soft", "black").explanation(images, masks, normalise)
    same(black, [[[[2, -2, -1.5]]] * 3])
    mean = Protocol("soft", "mean").explanation(images, masks, normalise)
    same(mean, [[[[2, 0, -0.5]]] * 3])


def test_each_image_gets_its_own_mask_in_the_images_dtype() -> None:
    images = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).bfloat16()
    masks = torch.zeros(2, 4, 5)
    masks[0, 1, 2] = masks[1, 3, 4] = 1
    for fill in FILLS:
        shown = Protocol("top_fraction", fill).explanation(images, masks, normalise)
        assert shown.dtype == torch.bfloat16
        for n, (i, j) in enumerate([(1, 2), (3, 4)]):
            assert torch.equal(shown[n, :, i, j], normalise(images)[n, :, i, j])
        assert (shown == (-2 if fill == "black" else 0)).sum() >= 3 * (2 * 20 - 2)


def test_everything_kept_is_the_image() -> None:
    images = torch.rand(2, 3, 4, 5)
    for protocol in protocols(fraction=1.0)[:2]:
        masks = protocol.masks(torch.randn(2, 4, 5))
        assert torch.equal(protocol.explanation(images, masks, normalise), normalise(images))


def test_six_protocols() -> None:
    assert [protocol.name for protocol in protocols()] == [
        "top_fraction-black", "top_fraction-mean", "threshold-black", "threshold-mean", "soft-black", "soft-mean",
    ]  # fmt: skip
    assert {protocol.fraction for protocol in protocols()} == {0.2}
    several = [Protocol("top_fraction", "black", share, f"{share:.0%}") for share in (0.05, 0.5)]
    assert [(protocol.kept, protocol.name) for protocol in several] == [("5%", "5%-black"), ("50%", "50%-black")]


# Scores


def test_outputs_of_the_class() -> None:
    logits = torch.tensor([[0, 1, 2], [40, 0, 0], [0, 0, -1]]).float()
    outputs = Outputs.of(logits, torch.tensor([1, 0, 2]))
    same(outputs.activation, [1, 40, -1])
    e = torch.tensor(1.0, dtype=torch.float64).exp().item()
    same(outputs.confidence, [e / (1 + e + e * e), 1 / (1 + 2 * e**-40), 1 / (1 + 2 * e)])


def test_confidences_near_one_stay_apart() -> None:
    sure = Outputs.of(torch.tensor([[20.0, 0], [25, 0]]), torch.tensor([0, 0])).confidence
    assert increased(sure[:1], sure[1:]).all()


Y = torch.tensor([2.0, 4, 1, -1, 0, 5])
O = torch.tensor([[1.0, 5, -1, -2, 3, 5], [2, 1, 0.5, 3, -1, 6]])  # noqa: E741 - the paper's letter


def test_drop_and_increase_by_hand() -> None:
    same(drop_share(Y, O), [[0.5, 0, 2, NAN, NAN, 0], [0, 0.75, 0.5, NAN, NAN, 0]])
    assert increased(Y, O).tolist() == [
        [False, True, False, False, True, False],
        [False, False, False, True, False, True],
    ]
    same(average_drop(Y, O), [250 / 4, 125 / 4])
    same(increase(Y, O), [200 / 6, 200 / 6])
    same(average_drop(Y, O[0]), 62.5)
    assert average_drop(-Y[:1], O[:, :1]).isnan().all()


def test_wins_by_hand() -> None:
    drops = torch.tensor([[0.5, 0, 0, 0.25, NAN, 0.3], [0.25, 0.5, 0, 0.25, NAN, NAN], [0.75, 0.1, 0.5, 1, NAN, 0.1]])
    same(wins(drops), [[0, 1, 0, 0, NAN, NAN], [1, 0, 0, 0, NAN, NAN], [0, 0, 0, 0, NAN, NAN]])
    same(wins(drops).nanmean(1), [0.25, 0.25, 0])
    same(1 - wins(drops).sum(0), [0, 0, 1, 1, NAN, NAN])  # the ties


def test_wins_of_random_drops_are_the_arg_minimum() -> None:
    drops = torch.rand(5, 300, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(wins(drops).argmax(0), drops.argmin(0))
    assert (wins(drops).sum(0) == 1).all()


# Refusals


def test_protocols_that_cannot_be() -> None:
    with pytest.raises(UserError, match="keep 'all' is not known; there are: top_fraction, threshold, soft"):
        Protocol("all", "black")
    with pytest.raises(UserError, match="fill 'white' is not known; there are: black, mean"):
        Protocol("soft", "white")
    for fraction in (0, 20, NAN):
        with pytest.raises(UserError, match=r"\(0, 1\]"):
            Protocol("soft", "mean", fraction)


@pytest.mark.parametrize("protocol", protocols(), ids=lambda protocol: protocol.name)
def test_maps_and_masks_that_cannot_be(protocol: Protocol) -> None:
    for value in (NAN, float("inf")):
        with pytest.raises(UserError, match="NaN or infinity"):
            protocol.masks(torch.tensor([[[0, value]]]))
    with pytest.raises(UserError, match="upsampled"):
        protocol.masks(torch.ones(1, 1, 4, 4))
    for shape in ((1, 4, 4), (2, 2, 2), (2, 1, 4, 4)):
        with pytest.raises(UserError, match="upsample the maps"):
            protocol.explanation(torch.ones(2, 3, 4, 4), torch.ones(shape), normalise)


def test_outputs_that_cannot_be() -> None:
    for measure in (drop_share, increased, average_drop, increase):
        with pytest.raises(UserError, match="same images"):
            measure(Y, O[:, :3])
        with pytest.raises(UserError, match="same images"):
            measure(Y[None], O)
        with pytest.raises(UserError, match="infinite"):
            measure(Y, O / 0)
    with pytest.raises(UserError, match="two methods"):
        wins(torch.rand(1, 5))
    with pytest.raises(UserError, match="two methods"):
        wins(torch.rand(5))
