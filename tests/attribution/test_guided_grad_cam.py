"""Guided Grad-CAM against captum's."""

import pytest
import torch.nn.functional as F
from captum.attr import GuidedGradCam

from tests.attribution.backward.networks import images, small
from tests.attribution.networks import assert_same
from tests.attribution.test_guided_backprop import sequence
from xcnn.attribution import GuidedBackprop, GuidedGradCAM
from xcnn.errors import UserError


@pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU")
def test_captum() -> None:
    model, x = sequence(), images()
    expected = GuidedGradCam(model, model[2]).attribute(x.clone(), [1, 3], interpolate_mode="bilinear")  # type: ignore[index]
    assert_same(GuidedGradCAM(model, "2").relevance(x, [1, 3]), expected.detach())


def test_the_product() -> None:
    model, x = small(), images()
    method = GuidedGradCAM(model, "average")
    cam = F.interpolate(method.grad_cam(x, 2)[:, None], size=(16, 16), mode="bilinear")
    assert_same(method(x, 2), (GuidedBackprop(model).relevance(x, 2) * cam).abs().amax(1), 1e-12)
    with pytest.raises(UserError, match="no layer 'layer9'"):
        GuidedGradCAM(model, "layer9")
