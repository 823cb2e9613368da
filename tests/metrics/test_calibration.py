"""Bins of confidence and the calibration error, by hand."""

import pytest
import torch

from xcnn.errors import UserError
from xcnn.metrics.calibration import reliability


def rows(*confidences: float) -> torch.Tensor:
    return torch.tensor([[c, 1 - c] for c in confidences], dtype=torch.float64)


def test_by_hand() -> None:
    found = reliability(rows(0.9, 0.7, 0.6, 0.75), torch.tensor([0, 0, 1, 1]), bins=4)
    assert found.images.tolist() == [0, 0, 3, 1]  # 0.75 ends the third bin
    assert found.confidence[2:].tolist() == pytest.approx([(0.7 + 0.6 + 0.75) / 3, 0.9])
    assert found.accuracy[2:].tolist() == pytest.approx([1 / 3, 1])
    assert found.accuracy[:2].isnan().all()
    assert found.error == pytest.approx((3 * abs(1 / 3 - 2.05 / 3) + 0.1) / 4)


def test_a_calibrated_network_has_no_error() -> None:
    labels = torch.tensor([0] * 8 + [1] * 2)
    assert reliability(rows(*[0.8] * 10), labels).error == pytest.approx(0, abs=1e-12)


def test_refused() -> None:
    with pytest.raises(UserError, match="bins is 0"):
        reliability(rows(0.9), torch.tensor([0]), bins=0)
    with pytest.raises(UserError, match="give one for each"):
        reliability(rows(0.9), torch.tensor([0, 1]))
