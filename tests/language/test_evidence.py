"""What is refused as evidence, and what its hash depends on."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from xcnn.errors import UserError
from xcnn.language import FilterEvidence

Make = Callable[..., FilterEvidence]


def test_hash_is_of_the_values(evidence: Make) -> None:
    activation = torch.arange(16.0).view(4, 4)
    known = evidence(activation).evidence_hash
    assert known == "f98f7579bed77a91bd9a3c930db396d6b8a654c71dbc0942e7534a4d967897ce"
    assert evidence(activation.double()).evidence_hash == known
    assert evidence(activation.T.contiguous().T).evidence_hash == known
    assert evidence(activation.numpy()).evidence_hash == known


@pytest.mark.parametrize(
    "change",
    [
        {"layer": "relu2"},
        {"filter": 8},
        {"image": torch.full((3, 32, 32), 0.25)},
        {"image": torch.full((3, 16, 64), 0.5)},
        {"target": "cat"},
        {"predicted": "bird"},
        {"score": 0.0313},
        {"auroc": torch.full((4,), 0.5)},
        {"threshold": 0.2},
    ],
)
def test_hash_changes_with_every_field(evidence: Make, change: dict[str, Any]) -> None:
    activation = torch.ones(4, 4)
    assert evidence(activation, **change).evidence_hash != evidence(activation).evidence_hash


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": torch.zeros(1, 8, 8)}, r"\(3, H, W\)"),
        ({"image": torch.full((3, 8, 8), 1.1)}, "before normalisation"),
        ({"activation": torch.zeros(1, 4, 4)}, r"\(h, w\)"),
        ({"activation": -torch.ones(4, 4)}, "after the ReLU"),
        ({"activation": torch.full((4, 4), float("nan"))}, "after the ReLU"),
        ({"auroc": torch.zeros(3)}, "one per class"),
        ({"target": "dog"}, "airplane, automobile, bird, cat"),
        ({"threshold": 1.0}, r"\[0, 1\)"),
    ],
)
def test_refusals(evidence: Make, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        evidence(**({"activation": torch.ones(4, 4)} | change))
    assert "relu3/7" in str(error.value)
