"""Shares of right first choices, of logits that are known."""

import pytest
import torch
from torch import Tensor

from xcnn.data import Shapes
from xcnn.data.tensors import Labelled
from xcnn.evaluation.predictions import top_shares


def test_shares_of_first_choices_by_hand() -> None:
    data = Shapes(n_train=10, n_test=10)
    data.setup()
    part = Labelled(data.test.images[:4], torch.tensor([3, 1, 0, 2]))
    batches: list[int] = []

    def network(images: Tensor) -> Tensor:
        batches.append(len(images))
        return torch.tensor([[0.0, 1, 2, 3]]).repeat(len(images), 1)  # from the last class to the first

    assert top_shares(network, data, part, (1, 2, 3)) == pytest.approx([0.25, 0.5, 0.75])
    assert top_shares(network, data, part) == [0.25] and batches == [4, 4]
