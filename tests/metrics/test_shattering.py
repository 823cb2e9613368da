"""Autocorrelation along a line against NumPy's and against series whose autocorrelation is known."""

import numpy as np
import pytest
import torch

from xcnn.errors import UserError
from xcnn.metrics.shattering import autocorrelation, line


def test_line() -> None:
    start, end = torch.zeros(1, 2, 2), torch.tensor([[[3.0, 6.0], [9.0, 0.0]]])
    found = line(start, end, 4)
    assert found.shape == (4, 1, 2, 2) and torch.equal(found[1], end / 3) and torch.equal(found[3], end)
    with pytest.raises(UserError, match="1 steps"):
        line(start, end, 1)


def test_against_numpy() -> None:
    values = torch.randn(30, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    centred = values.numpy() - values.numpy().mean()
    expected = np.correlate(centred, centred, "full")[29:] / (centred**2).sum()
    found = autocorrelation(values[:, None, None], 29)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)
    pair = torch.stack([values, 3 * values.flip(0)], 1)  # pixels add up, each with its variance
    np.testing.assert_allclose(autocorrelation(pair, 29).numpy(), expected, atol=1e-12)


def test_white_noise_and_a_walk() -> None:
    steps = torch.randn(400, 8, 8, generator=torch.Generator().manual_seed(0))
    assert autocorrelation(steps, 5)[1:].abs().max() < 0.02
    assert autocorrelation(steps.cumsum(0), 1)[1] > 0.95


@pytest.mark.parametrize("value", [0.0, 0.1])
def test_what_does_not_change_has_none(value: float) -> None:
    assert autocorrelation(torch.full((20, 3, 3), value), 3).isnan().all()
    with pytest.raises(UserError, match="lags is 20"):
        autocorrelation(torch.rand(20, 3, 3), 20)
