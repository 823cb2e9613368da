"""LRP against zennit, input times gradient, and the sums that it keeps."""

from typing import Any

import pytest
import torch
import zennit.composites
from torch import Tensor, nn
from zennit.attribution import Gradient as Attributor

from tests.attribution.backward.networks import Plain, Small, images, small, without_biases
from tests.attribution.networks import assert_same, randomise
from xcnn.attribution import LRP, Gradient
from xcnn.errors import UserError

TARGETS = [1, 3]


def sequence(batch_norm: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    norm: Any = nn.BatchNorm2d if batch_norm else (lambda _: nn.Identity())
    return randomise(  # type: ignore[return-value]
        nn.Sequential(
            *(nn.Conv2d(3, 6, 3), norm(6), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), norm(8), nn.ReLU()),
            *(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(32, 9), nn.ReLU(), nn.Linear(9, 5)),
        )
    )


def by_zennit(model: nn.Module, x: Tensor, composite: Any) -> Tensor:
    """Zennit's relevance, with the target's logit at the top as here."""
    chosen = torch.eye(5, dtype=x.dtype)[TARGETS]
    with Attributor(model=model, composite=composite) as attributor:
        return attributor(x, lambda output: output * chosen)[1].detach()


COMPOSITES: dict[str, Any] = {
    "epsilon_plus": lambda: zennit.composites.EpsilonPlus(),
    "epsilon_gamma_box": lambda: zennit.composites.EpsilonGammaBox(low=-4.0, high=4.0, gamma=0.25),
    "lrp_alpha2_beta1": lambda: zennit.composites.LayerMapComposite(
        [
            (zennit.types.Activation, zennit.rules.Pass()),
            (zennit.types.AvgPool, zennit.rules.Norm()),
            (zennit.types.Linear, zennit.rules.AlphaBeta(2, 1, stabilizer=1e-12)),
        ]
    ),
    "lrp_gamma": lambda: zennit.composites.LayerMapComposite(
        [
            (zennit.types.Activation, zennit.rules.Pass()),
            (zennit.types.AvgPool, zennit.rules.Norm()),
            (zennit.types.Linear, zennit.rules.Gamma(0.25, stabilizer=1e-12)),
        ]
    ),
    "lrp_epsilon_no_bias": lambda: zennit.composites.LayerMapComposite(
        [
            (zennit.types.Activation, zennit.rules.Pass()),
            (zennit.types.AvgPool, zennit.rules.Norm()),
            (zennit.types.Linear, zennit.rules.Epsilon(1e-6, zero_params="bias")),
        ]
    ),
}


@pytest.mark.parametrize("name", COMPOSITES)
def test_zennit(name: str) -> None:
    """The same up to what zennit's stabilisers, which are in every denominator, take."""
    model, x = sequence(), images()
    bounds: dict[str, float] = {"low": -4.0, "high": 4.0} if "box" in name else {}
    found = LRP(model, name, **bounds).relevance(x, TARGETS)  # type: ignore[arg-type]
    assert_same(found, by_zennit(model, x, COMPOSITES[name]()), 1e-4)


def test_folding_as_zennit_does() -> None:
    """With zennit's canonizer and BatchNorms without epsilon, which it leaves out of the fold."""
    model, x = sequence(batch_norm=True), images()
    for module in model:
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0
    composite = zennit.composites.EpsilonPlus(canonizers=[zennit.canonizers.SequentialMergeBatchNorm()])
    assert_same(LRP(model, "epsilon_plus").relevance(x, TARGETS), by_zennit(model, x, composite), 1e-4)


@pytest.mark.parametrize("kind", [Small, Plain])
def test_input_times_gradient_without_biases(kind: type[nn.Module]) -> None:
    model, x = without_biases(small(kind)), images()
    found = LRP(model, "lrp_0").relevance(x, TARGETS)
    assert_same(found, Gradient(model, "input_times").relevance(x, TARGETS), 1e-12)
    logits = model(x).detach()[[0, 1], TARGETS]
    torch.testing.assert_close(found.sum((1, 2, 3)), logits, rtol=1e-12, atol=0)


@pytest.mark.parametrize("composite", ["lrp_epsilon_no_bias", "lrp_gamma", "lrp_alpha1_beta0", "epsilon_gamma_box"])
def test_conservation(composite: str) -> None:
    """With the biases left out of the denominators the relevance of the pixels is the target's logit."""
    model, x = small(Plain), images()
    found = LRP(model, composite, bias="ignore").relevance(x, TARGETS)
    logits = model(x).detach()[[0, 1], TARGETS]
    torch.testing.assert_close(found.sum((1, 2, 3)), logits, rtol=1e-4, atol=0)
    assert (LRP(model, composite, bias="absorb").relevance(x, TARGETS) - found).abs().max() > 0.01 * found.abs().max()


def test_alpha_beta_is_twice_the_positive_less_the_negative() -> None:
    """One linear layer by hand: R = (2, -1, 4) of 3 + 1, with Z+ = 6, Z- = -2, bias included."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 1)).double()
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[2.0, -1.0, 3.0]]))  # type: ignore[operator, union-attr]
        model[1].bias.fill_(-1.0)  # type: ignore[operator, union-attr]
    x = torch.tensor([[[[1.0, 1.0, 4 / 3]]]], dtype=torch.float64)
    found = LRP(model, "lrp_alpha2_beta1").relevance(x).flatten().tolist()  # z = 4, Z+ = 6, Z- = -2
    assert found == pytest.approx([2 * 2 / 6 * 4, -1 / 2 * 4, 2 * 4 / 6 * 4])
    ignored = LRP(model, "lrp_alpha2_beta1", bias="ignore").relevance(x).flatten().tolist()  # Z- = -1
    assert ignored == pytest.approx([2 * 2 / 6 * 4, -1 * 4, 2 * 4 / 6 * 4])


def test_refusals() -> None:
    model = small()
    with pytest.raises(UserError, match="bias is 'drop'; choose absorb or ignore"):
        LRP(model, bias="drop")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="bounds of the inputs need low below high"):
        LRP(model, "epsilon_gamma_box", low=[0.0, 0.0, 1.0], high=[1.0, 1.0, 1.0])
    with pytest.raises(UserError, match=r"there is no composite 'lrp_9'.*there are .*lrp_epsilon"):
        LRP(model, "lrp_9")
    with pytest.raises(UserError, match="2 bounds for 3 channels; give one, or one for each"):
        LRP(model, "epsilon_gamma_box", low=[0.0, 0.0], high=[1.0, 1.0]).relevance(images())
