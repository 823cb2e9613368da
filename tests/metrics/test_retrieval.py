"""Retrieval by hand."""

import torch

from xcnn.metrics.retrieval import recalls, recalls_by_class


def test_recalls() -> None:
    scores = torch.tensor([[0.9, 0.5, 0.1], [0.1, 0.2, 0.3], [0.3, 0.2, 0.1]])
    positive = torch.tensor([[True, False, False], [True, True, False], [False, False, True]])
    assert recalls(scores, positive, 1).tolist() == [1, 0, 0]
    assert recalls(scores, positive, 2).tolist() == [1, 1, 0]
    assert recalls(scores, positive, 9).tolist() == [1, 1, 1]


def test_what_the_class_alone_is_worth() -> None:
    positive = torch.tensor([[True, False, False], [False, True, True]])
    same = torch.tensor([[True, True, False], [False, True, True]])
    assert recalls_by_class(positive, same).tolist() == [0.5, 1]
