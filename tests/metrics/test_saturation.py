"""Units that a gradient passes over, by hand."""

import pytest
import torch

from xcnn.errors import UserError
from xcnn.metrics.saturation import accounted, hidden_share


def test_hidden_share_by_hand() -> None:
    drops = torch.tensor([[3.0, 1.0, -5.0, 0.0], [2.0, 2.0, 0.0, 0.0]])
    products = torch.tensor([[0.0, 2.0, 2.0, 0.0], [0.3, -1.0, 0.0, 1.0]])
    # First image: the unit of drop 3 of 4 has a product of 0. Second: 0.3 is above a tenth of 2, and not above a fifth.
    torch.testing.assert_close(hidden_share(drops, products), torch.tensor([0.75, 0.5]))
    torch.testing.assert_close(hidden_share(drops, products, below=0.2), torch.tensor([0.75, 1.0]))
    # A score that is linear in each unit hides nothing, however small a unit's part is.
    torch.testing.assert_close(hidden_share(drops, drops), torch.zeros(2))
    # A gradient that is zero everywhere hides all there is.
    torch.testing.assert_close(hidden_share(drops, 0 * products), torch.tensor([1.0, 1.0]))
    assert hidden_share(-drops.abs(), products).isnan().all()


def test_accounted_is_one_for_a_linear_score_and_scales_with_the_gradient() -> None:
    drops = torch.randn(3, 7, dtype=torch.float64)
    torch.testing.assert_close(accounted(drops, drops), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(accounted(drops, 0.25 * drops), torch.full((3,), 0.25, dtype=torch.float64))
    by_hand = accounted(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, -1.0]]))
    assert by_hand.item() == pytest.approx((3 - 2) / 5)
    assert accounted(torch.zeros(1, 2), torch.ones(1, 2)).isnan().all()


def test_bad_input() -> None:
    with pytest.raises(UserError, match=r"drops are \(2, 3\) and products \(2, 4\)"):
        hidden_share(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(UserError, match="below is 1"):
        hidden_share(torch.zeros(2, 3), torch.zeros(2, 3), below=1)
