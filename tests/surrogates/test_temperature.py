"""The temperature of logits whose true one is known, and where the loss is flat to first order."""

import pytest
import torch
import torch.nn.functional as F

from xcnn.errors import UserError
from xcnn.surrogates import fit_temperature


def test_the_temperature_that_labels_were_drawn_with() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(20_000, 4, generator=generator)
    labels = torch.multinomial((logits / 2.5).softmax(1), 1, generator=generator)[:, 0]
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(2.5, rel=0.03)
    scale = torch.tensor(1 / found, dtype=torch.float64, requires_grad=True)
    F.cross_entropy(logits.double() * scale, labels).backward()
    assert scale.grad is not None and abs(float(scale.grad)) < 1e-5  # the minimum


def test_labels_that_do_not_fit() -> None:
    with pytest.raises(UserError, match=r"label in 0\.\.2 for each of the 4"):
        fit_temperature(torch.zeros(4, 3), torch.tensor([0, 1, 2, 3]))
