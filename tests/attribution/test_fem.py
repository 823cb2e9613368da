"""FEM by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.attribution.networks import assert_same, headed, pictures
from xcnn.attribution import FEM
from xcnn.errors import UserError


def test_by_hand() -> None:
    """Channel 1: mean 2, deviation 3.46; channel 2: mean 1, deviation 1; nothing of a channel without strong values."""
    x = torch.tensor([[8.0, 0.0, 0.0, 0.0], [2.0, 2.0, 0.0, 0.0]]).view(1, 2, 2, 2)
    model = nn.Sequential(nn.Identity(), nn.Flatten())
    assert FEM(model, "0")(x).flatten().tolist() == pytest.approx([1, 1 / 3, 0, 0])
    assert FEM(model, "0", deviations=1.5)(x).flatten().tolist() == [1, 0, 0, 0]


def test_numpy() -> None:
    model, x = headed("convolution, relu"), pictures(2, 4, 7)
    features = model.features(x).detach().numpy()
    for image, found in zip(features, FEM(model, "features")(x), strict=True):
        expected = np.zeros((4, 7))
        for channel in image:
            expected += channel.mean() * (channel >= channel.mean() + channel.std())
        expected = (expected - expected.min()) / (expected.max() - expected.min())
        assert_same(found, torch.from_numpy(expected))


def test_the_head_does_not_run() -> None:
    model, x = headed("convolution, relu"), pictures(2, 4, 7)
    method = FEM(model, "features")
    explained = method.explain(x, [1, 2])
    assert torch.equal(method(x, [3, 0]), explained.maps) and explained.targets.tolist() == [1, 2]
    method.split.head = lambda features: pytest.fail("the head ran")  # type: ignore[assignment, method-assign]
    method(x)


def test_refusals() -> None:
    model = headed("convolution, relu")
    with pytest.raises(UserError, match="deviations must be at least 0"):
        FEM(model, "features", -1)
    with pytest.raises(UserError, match="pass a float tensor"):
        FEM(model, "features")(torch.zeros(3, 8, 8))
    with pytest.raises(UserError, match=r"NaN or infinity .*'features', for image\(s\) 1 of"):
        FEM(model, "features")(pictures(2, 4, 7).index_fill(0, torch.tensor([1]), torch.nan))
    with pytest.raises(UserError, match="not maps"):
        FEM(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), "0")(torch.rand(1, 3, 2, 2))
