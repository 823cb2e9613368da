"""The control of sanity checks."""

import torch

from tests.attribution.networks import network, pictures
from xcnn.attribution import FreshNoise
from xcnn.metrics.similarity import pcc


def test_networks_have_maps_of_their_own_and_a_network_always_the_same() -> None:
    images = pictures(4, 64, 64)
    model = network("conv3")
    maps = FreshNoise(model, "relu1")(images)
    assert maps.shape == (4, 64, 64) and torch.equal(FreshNoise(model, "relu1")(images[2:]), maps[2:])
    with torch.no_grad():
        model.classifier.bias[0] += 1e-3
    others = FreshNoise(model, "relu1")(images)
    for a, b in ((maps, others), (maps, maps.roll(1, 0))):
        assert pcc(a, b).abs().max() < 4 / 64  # four standard deviations of 64 x 64 independent draws
