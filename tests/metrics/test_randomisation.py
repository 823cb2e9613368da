"""Cascades of randomised networks, and structural similarity against its formula with SciPy's filters."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from xcnn.errors import UserError
from xcnn.metrics.randomisation import cascade, layers_with_weights, ssim
from xcnn.models import conv3


def maps(seed: int, n: int = 3) -> Tensor:
    found = torch.rand(n, 16, 19, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return (found - found.amin((1, 2), keepdim=True)) / (found.amax((1, 2)) - found.amin((1, 2)))[:, None, None]


def by_formula(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al. 2004, eq. 13, with L = 1, at the places that are 5 pixels or more from the border."""

    def mean(values: np.ndarray) -> np.ndarray:
        filtered: np.ndarray = gaussian_filter(values, 1.5, truncate=3.5)[5:-5, 5:-5]
        return filtered

    x, y = mean(a), mean(b)
    covariance = mean(a * b) - x * y
    top = (2 * x * y + 1e-4) * (2 * covariance + 9e-4)
    return float((top / ((x**2 + y**2 + 1e-4) * (mean(a * a) - x**2 + mean(b * b) - y**2 + 9e-4))).mean())


def test_ssim_against_its_formula() -> None:
    a = maps(0)
    b = (a + 0.3 * maps(1)) / 1.3
    b = (b - b.amin((1, 2), keepdim=True)) / (b.amax((1, 2)) - b.amin((1, 2)))[:, None, None]
    for k in range(3):
        assert ssim(a, b)[k].item() == pytest.approx(by_formula(a[k].numpy(), b[k].numpy()), abs=1e-12)
    torch.testing.assert_close(ssim(3 * a - 7, b), ssim(a, b))  # maps are brought to [0, 1]
    torch.testing.assert_close(ssim(a, a), torch.ones(3, dtype=torch.float64))
    assert ssim(a, 1 - a).max() < 0 and ssim(a, torch.ones_like(a)).isnan().all()
    with pytest.raises(UserError, match="11 px or more"):
        ssim(a[:, :10], a[:, :10])


def test_cascade() -> None:
    torch.manual_seed(0)
    network = conv3()
    before = {name: weight.clone() for name, weight in network.named_parameters()}
    names = ["conv1", "conv2", "conv3", "classifier"]
    assert layers_with_weights(network) == names
    found = list(cascade(network, stages=4, seed=1))
    assert [(one.order, one.layers) for one in found] == [
        ("top_down", 1), ("top_down", 2), ("top_down", 3), ("top_down", 4), ("bottom_up", 1), ("bottom_up", 2),
        ("bottom_up", 3),
    ]  # fmt: skip
    for one in found:
        changed = names[-one.layers :] if one.order == "top_down" else names[: one.layers]
        for name, weight in one.network.named_parameters():
            same = torch.equal(weight, before[name])
            assert same != (name.split(".")[0] in changed), (one.order, one.layers, name)
    assert all(torch.equal(weight, before[name]) for name, weight in network.named_parameters())
    whole = found[3].network.get_submodule("conv2").weight
    assert isinstance(whole, Tensor)
    assert whole.std().item() == pytest.approx(before["conv2.weight"].std().item(), rel=0.02)
    assert torch.equal(found[5].network.get_submodule("conv2").weight, whole)  # drawn for the layer, not the stage


def test_stages_are_spread_over_a_deep_network() -> None:
    deep = nn.Sequential(*(nn.Linear(3, 3) for _ in range(21)))
    found = [one.layers for one in cascade(deep, stages=5) if one.order == "top_down"]
    assert found == [1, 6, 11, 16, 21]
    with pytest.raises(UserError, match="stages is 1"):
        list(cascade(deep, stages=1))
