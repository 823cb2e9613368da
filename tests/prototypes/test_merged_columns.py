"""Several columns for each class, merged: by hand, and against the single column that their average is."""

import pytest
import torch

from xcnn.errors import UserError
from xcnn.prototypes import MergedColumns, dominance, first_direction, fit_columns, random_columns

COLUMNS = torch.tensor([[[1.0, 0.0], [0.0, 2.0]], [[-1.0, 0.0], [1.0, 1.0]]])  # two classes, two columns each


def test_merged_by_hand() -> None:
    z = torch.tensor([[3.0, 1.0], [-1.0, 0.5]])
    assert MergedColumns(COLUMNS, "max")(z).tolist() == [[3.0, 4.0], [1.0, 1.0]]
    assert MergedColumns(COLUMNS, "average")(z).tolist() == [[2.5, 0.5], [0.0, 0.25]]
    torch.testing.assert_close(MergedColumns(COLUMNS, "average")(z), z @ COLUMNS.mean(1).T)
    with pytest.raises(UserError, match="max or average, not 'sum'"):
        MergedColumns(COLUMNS, "sum")  # type: ignore[arg-type]


def test_dominance_by_hand() -> None:
    chosen, labels = torch.tensor([0, 0, 0, 1, 2, 1]), torch.tensor([7, 7, 7, 7, 3, 3])
    assert dominance(chosen, labels) == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert dominance(torch.zeros(6, dtype=torch.int64), labels) == 1


def test_first_direction_by_hand() -> None:
    assert first_direction(torch.tensor([[[1.0, 2.0], [-2.0, -4.0]]])) == pytest.approx(1)
    assert first_direction(COLUMNS[:1]) == pytest.approx(4 / 5)  # orthogonal, squared norms 1 and 4


def test_columns_are_drawn_by_their_seed_and_learn() -> None:
    start = random_columns(2, 3, 4, 0)
    assert torch.equal(start, random_columns(2, 3, 4, 0)) and not torch.equal(start, random_columns(2, 3, 4, 1))
    assert 0.4 < float(start.abs().max()) <= 0.5  # 1 / sqrt(4)
    z = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    labels = (z[:, 0] > 0).long()
    network = MergedColumns(start, "max")
    fit_columns(network, z, labels, 200, 0.1)
    assert bool((network(z).argmax(1) == labels).all()) and torch.equal(start, random_columns(2, 3, 4, 0))
