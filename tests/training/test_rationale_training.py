"""The loss with several positives, against hand-computed values and CLIP's own; the training on drawn shapes."""

import functools
import math

import pytest
import torch

from xcnn.data import Rationales, Shapes
from xcnn.data.rationales import LONGEST, VOCABULARY
from xcnn.errors import UserError
from xcnn.models import DualEncoder
from xcnn.training import RationaleTraining
from xcnn.training.rationales import multi_positive_loss

ADAM = functools.partial(torch.optim.Adam, lr=3e-3)


def network() -> DualEncoder:
    torch.manual_seed(0)
    return DualEncoder((3, 32, 32), len(VOCABULARY), LONGEST, width=16, queries=2, layers=1, dimension=16)


def test_the_loss_by_hand() -> None:
    positive = torch.tensor([[True, True, False], [False, False, True]])
    assert multi_positive_loss(torch.zeros(2, 3), positive) == pytest.approx((math.log(3) + math.log(2)) / 2)
    logits = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 2.0]])
    first = math.log(math.e + 2) - 0.5  # its positives have the logits 1 and 0
    second = math.log(math.e**2 + 2) - 2
    columns = (math.log(math.e + 1) - 1, math.log(2), math.log(math.e**2 + 1) - 2)
    expected = ((first + second) / 2 + sum(columns) / 3) / 2
    assert multi_positive_loss(logits, positive) == pytest.approx(expected)


def test_on_one_positive_each_it_is_the_loss_of_clip() -> None:
    loss = pytest.importorskip("open_clip.loss")
    generator = torch.Generator().manual_seed(0)
    images, texts = (torch.nn.functional.normalize(torch.randn(8, 4, generator=generator), dim=1) for _ in range(2))
    expected = loss.ClipLoss()(images, texts, torch.tensor(14.0))
    torch.testing.assert_close(multi_positive_loss(14 * images @ texts.T, torch.eye(8, dtype=torch.bool)), expected)


@pytest.mark.parametrize("texts", ["rationales", "class_names"])
def test_a_few_steps_lower_the_loss_and_reach_every_weight(texts: str) -> None:
    data = Rationales(Shapes(n_train=60, n_test=20))
    data.setup()
    module = RationaleTraining(network(), ADAM, texts=texts)  # type: ignore[arg-type]
    module.log_dict = module.log = lambda *arguments, **options: None  # type: ignore[method-assign,assignment]
    optimizer = torch.optim.Adam(module.parameters(), 3e-3)
    batch = (data.train.images[:32].float() / 255, data.train.labels[:32])
    losses = []
    for _ in range(20):
        torch.manual_seed(0)  # the same sentences in each step
        optimizer.zero_grad()
        loss = module.training_step(batch, 0)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    if texts == "rationales":
        assert all(parameter.grad is not None and parameter.grad.any() for parameter in module.parameters())


def test_what_it_cannot_train_on_is_refused() -> None:
    with pytest.raises(UserError, match=r"rationales.texts is one of class_names, rationales, shuffled_rationales"):
        RationaleTraining(network(), ADAM, texts="names")  # type: ignore[arg-type]
    plain = Shapes(n_train=20, n_test=20)
    plain.setup()
    with pytest.raises(UserError, match="shapes has labels and no facts"):
        RationaleTraining(network(), ADAM).check(plain, 1)
