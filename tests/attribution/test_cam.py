"""CAM by hand, and where it is refused."""

import pytest
import torch

from tests.attribution.networks import assert_same, headed, network, pictures
from xcnn.attribution import CAM, GradCAM
from xcnn.errors import UserError

TARGETS = [3, 1]


@pytest.mark.parametrize("name", ["gap, linear", "mean, linear"])
def test_by_hand(name: str) -> None:
    """The classifier's weights on the features, negative values kept; their mean and the bias are the logit."""
    model, images = headed(name), pictures(2, 4, 7)
    features, weight = model.features(images).detach(), model.only.weight.detach()
    maps = CAM(model, "features")(images, TARGETS)
    assert_same(maps, torch.einsum("nk,nkhw->nhw", weight[TARGETS], features))
    assert (maps < 0).any()
    logits = model(images)[range(2), TARGETS].detach()
    torch.testing.assert_close(maps.mean((1, 2)) + model.only.bias[TARGETS].detach(), logits)
    assert_same(GradCAM(model, "features")(images, TARGETS) * 28, maps.relu())


def test_half_precision() -> None:
    model, images = network("conv3"), pictures(2, 12, 20)
    exact = CAM(model, "relu3")(images, TARGETS)
    half = CAM(model.bfloat16(), "relu3")(images.bfloat16(), TARGETS)
    torch.testing.assert_close(half, exact, rtol=0, atol=0.1 * exact.abs().max().item(), check_dtype=False)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("vgg16", "features.30"),
        ("small densenet", "features"),  # a ReLU stands before the pooling
        ("conv3", "pool2"),
        ("flatten, linear", "features"),
        ("convolution, gap, linear", "features"),
        ("gap, linear, relu", "features"),
    ],
)
def test_other_heads(name: str, layer: str) -> None:
    model = headed(name) if layer == "features" and "," in name else network(name)
    images = pictures(1, 4, 7) if "," in name else pictures(1, 64, 96)
    with pytest.raises(UserError, match=f"CAM needs global average pooling and one linear layer after '{layer}'"):
        CAM(model, layer)(images)
