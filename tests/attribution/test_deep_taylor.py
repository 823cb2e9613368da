"""Deep Taylor decomposition: beside LRP-alpha1-beta0, by hand, and what it keeps."""

import pytest
import torch
from torch import nn

from tests.attribution.backward.networks import Plain, images, small
from tests.attribution.networks import assert_same
from xcnn.attribution import LRP, DeepTaylor
from xcnn.errors import UserError

TARGETS = [1, 3]


def test_alpha1_beta0_on_positive_activations() -> None:
    """The z+ rule is LRP-alpha1-beta0 where no activation is negative and biases are left out."""
    model, x = small(Plain), images().abs()
    expected = LRP(model, "lrp_alpha1_beta0", bias="ignore").relevance(x, TARGETS)
    assert_same(DeepTaylor(model, "plus").relevance(x, TARGETS), expected, 1e-12)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):  # a negative bias takes nothing from the positive side
                parameter.copy_(-parameter.abs())
    for method in (DeepTaylor(model, "plus"), LRP(model, "lrp_alpha1_beta0", bias="absorb")):
        assert_same(method.relevance(x, TARGETS), LRP(model, "lrp_alpha1_beta0").relevance(x, TARGETS), 1e-12)


@pytest.mark.parametrize("domain", ["box", "squares", "plus"])
def test_conservation(domain: str) -> None:
    model, x = small(Plain), images()
    found = DeepTaylor(model, domain).relevance(x, TARGETS)  # type: ignore[arg-type]
    logits = model(x).detach()[[0, 1], TARGETS]
    torch.testing.assert_close(found.sum((1, 2, 3)), logits, rtol=1e-11, atol=0)
    if domain != "plus":  # relevance has one sign, that of the logit
        assert (found * logits.sign()[:, None, None, None] >= -1e-12).all()


def test_domains_by_hand() -> None:
    """z = 2 x1 - x2 = 7 at (3, -1): terms of z-box in [-1, 5] are 8 and 6, of w^2 4 and 1; a bias changes nothing."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 1)).double()
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[2.0, -1.0]]))  # type: ignore[operator, union-attr]
        model[1].bias.fill_(7.0)  # type: ignore[operator, union-attr]
    x = torch.tensor([[[[3.0, -1.0]]]], dtype=torch.float64)
    box = DeepTaylor(model, low=-1.0, high=5.0).relevance(x).flatten().tolist()
    assert box == pytest.approx([14 * 8 / 14, 14 * 6 / 14])
    own = DeepTaylor(model).relevance(x).flatten().tolist()  # the image's own bounds: -1 and 3
    assert own == pytest.approx([14 * 8 / 12, 14 * 4 / 12])
    assert DeepTaylor(model, "squares").relevance(x).flatten().tolist() == pytest.approx([14 * 4 / 5, 14 / 5])


def test_an_unknown_domain() -> None:
    with pytest.raises(UserError, match="domain is 'w2'; choose one of box, squares, plus"):
        DeepTaylor(small(Plain), "w2")  # type: ignore[arg-type]
