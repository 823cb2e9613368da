"""R = |g_s(x) - g_a(x)| of a given pair."""

import torch
from torch import Tensor, nn

from tests.attribution.networks import assert_same
from xcnn.attribution import TwoGenerators
from xcnn.models import GeneratorPair


class Known(GeneratorPair):
    """Generates x, and x less 1, 2 and -3 in its channels, in the left half."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        change = torch.zeros_like(images)
        change[..., : images.shape[3] // 2] = torch.tensor([1.0, 2.0, -3.0]).to(images)[:, None, None]
        return images.clone(), images - change


def classifier() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


def test_the_greatest_difference_over_the_channels() -> None:
    method, images = TwoGenerators(classifier(), Known(widths=(2,))), torch.rand(3, 3, 8, 8)
    expected = torch.zeros(3, 8, 8)
    expected[..., :4] = 3
    assert_same(method(images), expected, 1e-5)
    relevance = method.relevance(images)
    assert_same(relevance[..., :4], torch.tensor([1.0, 2.0, -3.0])[:, None, None].expand(3, 3, 8, 4), 1e-5)
    assert relevance[..., 4:].abs().max() == 0


def test_no_target_in_it_and_no_chance() -> None:
    """Whatever class is asked for; in evaluation mode, without dropout, and the caller's pair left as it is."""
    torch.manual_seed(0)
    pair = GeneratorPair(widths=(4, 8)).train()
    method, images = TwoGenerators(classifier(), pair, chunk=2), torch.rand(5, 3, 8, 8)
    maps = method(images, 0)
    assert_same(maps, method(images, 1))
    with torch.no_grad():
        similar, adversarial = pair.eval()(images)
    assert_same(maps, (similar - adversarial).abs().amax(1), 1e-5)
    assert method.generators is not pair and pair.train().training


def test_the_pair_itself() -> None:
    method, images = TwoGenerators(classifier(), Known(widths=(2,))), torch.rand(2, 3, 8, 8)
    similar, adversarial = method.pair(images)
    assert torch.equal(similar, images) and torch.equal(adversarial[..., 4:], images[..., 4:])
