"""Evidence for the tests of this folder."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from xcnn.language import FilterEvidence

CLASSES = ("airplane", "automobile", "bird", "cat")


@pytest.fixture
def evidence() -> Callable[..., FilterEvidence]:
    """evidence(activation, **changes): a filter that fires for birds, on a mid-grey image unless told otherwise."""

    def make(activation: torch.Tensor, **changes: Any) -> FilterEvidence:
        values: dict[str, Any] = {
            "layer": "relu3",
            "filter": 7,
            "image": torch.full((3, 32, 32), 0.5),
            "target": "bird",
            "predicted": "cat",
            "score": 0.0312,
            "classes": CLASSES,
            "auroc": torch.tensor([0.5, 0.65, 0.91, 0.72]),
        }
        return FilterEvidence(activation=activation, **(values | changes))

    return make


@pytest.fixture
def random_evidence(evidence: Callable[..., FilterEvidence]) -> Callable[..., FilterEvidence]:
    """random_evidence(seed): a smooth coloured image and a sparse live map of 5 to 16 cells a side."""

    def make(seed: int) -> FilterEvidence:
        generator = torch.Generator().manual_seed(seed)
        coarse = torch.rand(1, 3, 6, 6, generator=generator)
        activation = (torch.randn(5 + seed % 12, 5 + seed % 7, generator=generator) - seed % 3).relu()
        activation[seed % 5, seed % 4] = 1
        return evidence(
            activation,
            image=torch.nn.functional.interpolate(coarse, size=32, mode="bicubic")[0].clamp(0, 1),
            score=float(torch.randn((), generator=generator)) * 0.02,
            predicted=CLASSES[seed % 4],
            auroc=torch.rand(4, generator=generator),
        )

    return make
