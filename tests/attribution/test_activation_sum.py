"""The control of activations."""

import torch

from tests.attribution.networks import headed, pictures
from xcnn.attribution import ActivationSum


def test_by_hand_whatever_the_class() -> None:
    model, images = headed("convolution, relu"), pictures(2, 4, 7)
    method = ActivationSum(model, "features")
    features = model.features(images).detach()
    torch.testing.assert_close(method(images), sum(features[:, k] for k in range(6)))
    assert torch.equal(method(images, 0), method(images, 4)) and (method(images) < 0).any()
    assert method.explain(images).ablations.tolist() == [0, 0]
