"""Attacks against captum's, and against affine classifiers, where they are known."""

import pytest
import torch
from captum.robust import FGSM, PGD
from torch import Tensor, nn
from torch.nn import functional

from xcnn.errors import UserError
from xcnn.metrics.attacks import deepfool, fgsm, pgd, shuffled


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 9, 5)]
    return nn.Sequential(*layers).double()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(4, 2, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def loss(scores: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(scores, targets, reduction="none")


def test_fgsm_against_captum(network: nn.Module, images: Tensor) -> None:
    targets = network(images).argmax(1)
    theirs = FGSM(network, loss_func=loss).perturb(images, 0.1, targets)
    torch.testing.assert_close(images + fgsm(network, images, targets, 0.1), theirs)


def test_pgd_against_captum(network: nn.Module, images: Tensor) -> None:
    targets = network(images).argmax(1)
    theirs = PGD(network, loss_func=loss).perturb(images, 0.3, 0.075, 6, targets)
    found = pgd(network, images, targets, 0.3, steps=6)
    torch.testing.assert_close(images + found, theirs)
    assert found.abs().amax() <= 0.3 and not torch.equal(found, fgsm(network, images, targets, 0.3))


def test_deepfool_is_exact_on_an_affine_classifier(images: Tensor) -> None:
    torch.manual_seed(2)
    linear = nn.Linear(50, 6).double()
    affine = nn.Sequential(nn.Flatten(), linear)
    scores = affine(images).detach()
    found = deepfool(affine, images, overshoot=0.02)
    for k, own in enumerate(scores.argmax(1).tolist()):
        distances = [
            (scores[k, own] - scores[k, other]) / (linear.weight[own] - linear.weight[other]).norm()
            for other in range(6)
            if other != own
        ]
        assert found[k].norm().item() == pytest.approx(1.02 * min(each.item() for each in distances), rel=1e-9)
    assert (affine(images + found).argmax(1) != scores.argmax(1)).all()
    inside = affine(images + 0.99 / 1.02 * found).argmax(1)
    assert torch.equal(inside, scores.argmax(1))  # the boundary itself is where it is said to be


def test_deepfool_turns_a_network_with_less_than_fgsm(network: nn.Module, images: Tensor) -> None:
    before = network(images).argmax(1)
    found = deepfool(network, images)
    assert (network(images + found).argmax(1) != before).all()
    epsilon = next(e for e in torch.linspace(0.01, 2, 200).tolist() if turned(network, images, before, e).all())
    assert found[-1].norm() < fgsm(network, images, before, epsilon)[-1].norm()
    one = deepfool(network, images[2:3])
    torch.testing.assert_close(one, found[2:3])  # images are attacked one by one, also in a batch


def turned(network: nn.Module, images: Tensor, before: Tensor, epsilon: float) -> Tensor:
    return network(images + fgsm(network, images, before, epsilon)).argmax(1) != before


def test_noise_has_the_norms_of_the_attack(network: nn.Module, images: Tensor) -> None:
    attack = deepfool(network, images)
    noise = shuffled(attack, seed=3)
    for order in (1, 2, float("inf")):
        torch.testing.assert_close(noise.flatten(1).norm(order, 1), attack.flatten(1).norm(order, 1))
    cosines = functional.cosine_similarity(noise.flatten(1), attack.flatten(1))
    assert cosines.abs().max() < 0.5 and torch.equal(noise, shuffled(attack, seed=3))
    assert not torch.equal(noise, shuffled(attack, seed=4))


def test_wrong_strengths(network: nn.Module, images: Tensor) -> None:
    targets = torch.zeros(4, dtype=torch.long)
    with pytest.raises(UserError, match="epsilon is 0"):
        fgsm(network, images, targets, 0)
    with pytest.raises(UserError, match="steps is 0"):
        pgd(network, images, targets, 0.1, steps=0)
    with pytest.raises(UserError, match="candidates is 0"):
        deepfool(network, images, candidates=0)
