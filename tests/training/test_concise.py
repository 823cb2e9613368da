"""Area and dispersion against the spec's check values, hand-computed ones, and autograd on the soft expression."""

import math

import pytest
import torch

from xcnn.errors import UserError
from xcnn.training.concise import ConcisePenalty, area, concise_terms, dispersion


def maps(height: int, width: int, cells: list[tuple[int, int]], value: float = 1.0) -> torch.Tensor:
    one = torch.zeros(1, 1, height, width, dtype=torch.float64)
    for y, x in cells:
        one[0, 0, y, x] = value
    return one


def test_check_values_of_the_specification() -> None:
    assert dispersion(maps(8, 8, [(3, 5)])).item() == 0
    uniform = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    assert area(uniform).item() == 1
    # Variance of 8 cell centres on a line is (1 - 1/64) / 12; twice that for the plane.
    assert dispersion(uniform).item() == pytest.approx(math.sqrt(2 * (1 - 1 / 64) / 12), abs=1e-12)
    assert dispersion(uniform).item() == pytest.approx(0.41, abs=0.005)
    corners = dispersion(maps(8, 8, [(0, 0), (7, 7)])).item()
    assert corners == pytest.approx(math.sqrt(2) * 7 / 16, abs=1e-12)
    assert corners == pytest.approx(0.62, abs=0.005)


def test_cell_centres_of_a_map_that_is_not_square() -> None:
    # Two cells at the ends of a row of 4: x = 1/8 and 7/8, so sigma = 3/8; height does not matter.
    assert dispersion(maps(6, 4, [(2, 0), (2, 3)])).item() == pytest.approx(3 / 8, abs=1e-12)
    assert area(maps(6, 4, [(2, 0), (2, 3)])).item() == pytest.approx(2 / 24)


def test_the_mask_is_relative_to_each_maps_own_maximum() -> None:
    a = torch.tensor([[[[1.0, 0.1], [0.05, 0.2]]]])
    assert area(a).item() == pytest.approx(2 / 4)  # 0.1 is not above 0.1 x 1
    assert area(a * 1e4).item() == area(a).item()
    assert area(a, threshold=0.0).item() == 1


def test_a_dead_map_has_no_area_no_dispersion_and_no_gradient() -> None:
    a = torch.zeros(2, 3, 4, 4, requires_grad=True)
    found_area, found_dispersion = concise_terms(a)
    (found_area.sum() + found_dispersion.sum()).backward()
    assert found_area.eq(0).all() and found_dispersion.eq(0).all()
    assert a.grad is not None and a.grad.eq(0).all()


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("shape", [(3, 5, 7, 6), (2, 1, 1, 1), (2, 4, 8, 1), (0, 4, 8, 1)])
@pytest.mark.parametrize("cpu_chunk", [1, 2 * 5 * 7 * 6, 2**18])  # one image at a time, two and then one, all
def test_backward_is_the_gradient_of_the_soft_expression(
    shape: tuple[int, ...], channels_last: bool, cpu_chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The straight-through estimate, written out: hard mask in the formulas, sigmoid for each mask's derivative."""
    monkeypatch.setattr("xcnn.training.concise.CPU_CHUNK", cpu_chunk)
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(shape, generator=generator, dtype=torch.float64).relu()
    if channels_last:
        a = a.contiguous(memory_format=torch.channels_last)
    a.requires_grad_()
    t, temperature = 0.1, 0.07
    weights = torch.rand(2, *shape[:2], generator=generator, dtype=torch.float64)
    found_area, found_dispersion = concise_terms(a, t, temperature)
    (found,) = torch.autograd.grad((weights[0] * found_area + weights[1] * found_dispersion).sum(), a)

    peak = a.amax((2, 3), keepdim=True)
    live = peak > 0
    relative = a / torch.where(live, peak, 1)
    soft = ((relative - t) / temperature).sigmoid()
    hard = ((a > t * peak) & live).double()
    mask = torch.where(live, hard + soft - soft.detach(), 0.0)  # hard forwards, soft backwards
    height, width = shape[2:]
    y = ((torch.arange(height, dtype=torch.float64) + 0.5) / height)[:, None].expand(height, width)
    x = ((torch.arange(width, dtype=torch.float64) + 0.5) / width)[None].expand(height, width)
    mass = mask.sum((2, 3)).clamp(min=1e-300)
    mean_x, mean_y = (mask * x).sum((2, 3)) / mass, (mask * y).sum((2, 3)) / mass
    variance = (mask * ((x - mean_x[..., None, None]) ** 2 + (y - mean_y[..., None, None]) ** 2)).sum((2, 3)) / mass
    spread = hard.sum((2, 3)) > 1
    expected_dispersion = torch.where(spread, variance.clamp(min=1e-300).sqrt(), 0)
    expected_area = mask.mean((2, 3))
    torch.testing.assert_close(found_area, expected_area.detach(), atol=1e-12, rtol=0)
    torch.testing.assert_close(found_dispersion, expected_dispersion.detach(), atol=1e-12, rtol=0)
    total = (weights[0] * expected_area).sum() + (weights[1] * expected_dispersion)[spread].sum()
    (expected,) = torch.autograd.grad(total, a)
    torch.testing.assert_close(found, expected, atol=1e-11, rtol=1e-9)


def test_the_gradient_shrinks_the_map_and_cannot_be_gamed_by_rescaling() -> None:
    a = torch.rand(4, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    for term in concise_terms(a):
        (grad,) = torch.autograd.grad(term.sum(), a, retain_graph=True)
        assert grad.abs().amax((2, 3)).gt(0).all()
        # Scaling a map changes neither term, so the gradient is orthogonal to the map.
        torch.testing.assert_close((grad * a).sum((2, 3)), torch.zeros(4, 3, dtype=torch.float64), atol=1e-12, rtol=0)
    shrunk = a.detach() - 0.05 * torch.autograd.grad(area(a).sum() * 64, a)[0]
    assert area(shrunk.relu()).sum() < area(a.detach()).sum()


def test_bfloat16_maps_are_summed_in_float32() -> None:
    a = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(2)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        low = concise_terms(a.requires_grad_())
        (low[0].sum() + low[1].sum()).backward()
    high = concise_terms(a.detach().double())
    for rough, exact in zip(low, high, strict=True):
        assert rough.dtype == torch.float32
        torch.testing.assert_close(rough.double(), exact, atol=1e-6, rtol=1e-5)
    assert a.grad is not None and a.grad.dtype == torch.bfloat16 and a.grad.abs().sum() > 0


def test_the_literal_penalty_is_the_weighted_mean_over_filters_layers_and_images() -> None:
    layers = [torch.rand(5, 3, 8, 8).relu(), torch.zeros(5, 7, 4, 4)]
    penalty, parts = ConcisePenalty(alpha=0.3, beta=0.7)(layers)
    expected_area = area(layers[0]).mean() / 2
    expected_dispersion = dispersion(layers[0]).mean() / 2
    torch.testing.assert_close(penalty, 0.3 * expected_area + 0.7 * expected_dispersion)
    torch.testing.assert_close(parts["area"], expected_area)
    torch.testing.assert_close(parts["dispersion"], expected_dispersion)


def test_floors_leave_small_and_compact_maps_alone() -> None:
    small = torch.zeros(1, 1, 8, 8)
    small[0, 0, 2:4, 2:4] = 1
    large = torch.ones(1, 1, 8, 8)
    penalty = ConcisePenalty(alpha=1, beta=1, area_floor=0.2, dispersion_floor=0.3)
    assert penalty([small])[0] == 0
    expected = (1 - 0.2) + (dispersion(large).item() - 0.3)
    assert penalty([large])[0].item() == pytest.approx(expected, rel=1e-6)


def test_live_reduction_divides_by_the_live_maps_only() -> None:
    half_dead = torch.cat([torch.ones(2, 1, 8, 8), torch.zeros(2, 1, 8, 8)], 1)
    settings = {"alpha": 1.0, "beta": 0.0}
    assert ConcisePenalty(**settings)([half_dead])[0].item() == pytest.approx(0.5)
    assert ConcisePenalty(**settings, reduction="live")([half_dead])[0].item() == pytest.approx(1)
    assert ConcisePenalty(**settings, reduction="live")([torch.zeros(2, 2, 4, 4)])[0].item() == 0


def test_above_mean_penalises_only_the_larger_maps() -> None:
    a = torch.zeros(1, 2, 4, 4)
    a[0, 0] = 1
    a[0, 1, 0, 0] = 1
    found = ConcisePenalty(alpha=1, beta=0, above_mean=True)([a])[0].item()
    assert found == pytest.approx(0.5)  # the full map counts 1, the pixel 0; mean over both


def test_warm_up_rises_linearly_to_the_full_weight() -> None:
    a = [torch.ones(1, 1, 4, 4)]
    penalty = ConcisePenalty(alpha=1, beta=0, warmup_epochs=4)
    assert [penalty(a, epoch)[0].item() for epoch in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("alpha", -0.1),
        ("alpha", math.nan),
        ("beta", math.inf),
        ("area_floor", -1.0),
        ("dispersion_floor", math.nan),
        ("threshold", 1.0),
        ("temperature", 0.0),
        ("reduction", "some"),
    ],
)
def test_bad_settings_are_refused_by_name(argument: str, value: object) -> None:
    with pytest.raises(UserError, match=argument):
        ConcisePenalty(**{argument: value})  # type: ignore[arg-type]
