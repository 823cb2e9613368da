"""Networks of any depth."""

import pytest
import torch
from torch import nn

from xcnn.errors import UserError
from xcnn.models.depth import deep_network
from xcnn.models.split import split_at


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 9])
def test_depth_is_the_number_of_convolutions(depth: int, residual: bool) -> None:
    network = deep_network(depth, residual, channels=4)
    assert sum(isinstance(module, nn.Conv2d) for module in network.modules()) == depth
    images = torch.randn(2, 3, 8, 8)
    split = split_at(network, "last")
    assert split.trunk(images).shape == (2, 4, 8, 8) and network(images).shape == (2, 10)


def test_a_residual_unit_by_hand() -> None:
    torch.manual_seed(0)
    network = deep_network(2, residual=True, channels=4)
    images = torch.randn(1, 3, 8, 8)
    x = network.conv1(images)
    torch.testing.assert_close(network.unit2(x), x + network.unit2.conv(x.relu()))


def test_he_initialisation_keeps_the_scale() -> None:
    torch.manual_seed(0)
    features = split_at(deep_network(30, channels=64), "last").trunk(torch.randn(4, 3, 16, 16))
    assert 0.05 < features.square().mean() < 20 and not deep_network(1).conv1.bias.any()
    with pytest.raises(UserError, match="depth is 0"):
        deep_network(0)
