"""The control of the edges."""

import numpy as np
import torch
from scipy import ndimage

from tests.attribution.networks import headed
from xcnn.attribution import Edges


def test_against_scipy() -> None:
    images = torch.rand(2, 3, 6, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    maps = Edges(headed("gap, linear"))(images)
    for image, found in zip(images.numpy(), maps, strict=True):
        slopes = [
            np.hypot(ndimage.sobel(channel, 0, mode="nearest"), ndimage.sobel(channel, 1, mode="nearest")) / 8
            for channel in image
        ]
        np.testing.assert_allclose(found.numpy(), np.max(slopes, 0), rtol=1e-6)


def test_a_step_by_hand() -> None:
    """A step of height 1 between two columns has the slope 1/2 on both sides, none elsewhere."""
    images = torch.zeros(1, 3, 5, 6)
    images[:, 1, :, 3:] = 1
    assert torch.allclose(Edges(headed("gap, linear").float())(images)[0, 2], torch.tensor([0, 0, 0.5, 0.5, 0, 0]))
