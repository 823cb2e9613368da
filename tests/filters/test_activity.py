"""Activity against plain NumPy on all activations, and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from xcnn.errors import UserError
from xcnn.filters import auroc, measure_activity
from xcnn.filters.activity import _Sample
from xcnn.models import conv3
from xcnn.training.concise import area, dispersion


@pytest.fixture(scope="module")
def data() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    model = conv3().double().train()
    with torch.no_grad():
        images = torch.rand(50, 3, 8, 8, dtype=torch.float64) * torch.rand(50, 1, 1, 1)
        model.conv1.bias[3] = -100.0  # a dead filter
        model.conv1.bias[5] -= model.conv1(images)[:, 5].amax((1, 2)).median()  # one that is silent on half the images
    return model, images, torch.randint(0, 4, (50,))


def test_against_all_activations(data: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, images, labels = data
    batches = list(zip(images.split(20), labels.split(20), strict=True))
    activity = measure_activity(model, "relu1", iter(batches), 5)
    maps = model[:2](images).detach()
    flat = maps.transpose(0, 1).flatten(1).numpy()
    live = maps.flatten(2).amax(2) > 0
    assert 0 < live[:, 5].double().mean() < 1
    np.testing.assert_allclose(activity.peak, flat.max(1))
    np.testing.assert_allclose(activity.p95, np.percentile(flat, 95, axis=1))  # 3200 positions: no sampling
    assert torch.equal(activity.dead, ~live.any(0)) and activity.dead[3]
    assert activity.dead_share == pytest.approx((~live.any(0)).double().mean().item())
    assert activity.silent_share == pytest.approx((~live).double().mean().item())
    for name, term in (("area", area(maps)), ("dispersion", dispersion(maps))):
        alive = np.ma.masked_array(term.numpy(), mask=~live.numpy()).mean(0)
        torch.testing.assert_close(getattr(activity, name), torch.from_numpy(alive.filled(np.nan)), equal_nan=True)
        torch.testing.assert_close(getattr(activity, f"{name}_all"), term.mean(0))
    means = maps.mean((2, 3))
    expected = [[roc_auc_score((labels == c).numpy(), means[:, k].numpy()) for k in range(32)] for c in range(4)]
    np.testing.assert_allclose(activity.auroc[:4], expected)
    assert activity.auroc[4].isnan().all() and activity.n_images == 50
    assert model.training


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_auroc_with_ties_is_scikit_learns(levels: int) -> None:
    generator = torch.Generator().manual_seed(levels)
    values = torch.randint(0, levels, (200, 6), generator=generator).float()
    labels = torch.randint(0, 3, (200,), generator=generator)
    expected = [[roc_auc_score((labels == c).numpy(), values[:, k].numpy()) for k in range(6)] for c in range(3)]
    np.testing.assert_allclose(auroc(values, labels, 3), expected, rtol=1e-12)


def test_auroc_of_a_constant_and_of_a_perfect_filter() -> None:
    labels = torch.tensor([0, 1, 1, 0, 1])
    values = torch.stack([torch.zeros(5), labels.float(), -labels.float()], dim=1)
    assert auroc(values, labels, 2).tolist() == [[0.5, 0, 1], [0.5, 1, 0]]


def test_percentile_from_a_sample(data: tuple[nn.Module, Tensor, Tensor]) -> None:
    """Within four standard errors of the rank that the docstring gives."""
    model, images, labels = data
    maps = model[:2](images).detach().transpose(0, 1).flatten(1).numpy()
    size = 1000
    activity = measure_activity(model, "relu1", [(images, labels)], 4, sample_size=size)
    error = 4 * (0.05 * 0.95 / size) ** 0.5
    low, high = (np.quantile(maps, 0.95 + sign * error, axis=1) for sign in (-1, 1))
    p95 = activity.p95.numpy()
    assert (low <= p95).all() and (p95 <= high).all()
    assert (p95 != np.percentile(maps, 95, axis=1)).any()


def test_sample_is_uniform_over_batches() -> None:
    """Each of 20 rows, in uneven batches, is kept with probability 1/4."""
    counts = torch.zeros(20)
    for seed in range(2000):
        sample = _Sample(5, seed)
        for rows in torch.arange(20)[:, None].split([1, 3, 10, 6]):
            sample.add(rows)
        assert len(sample.rows.unique()) == 5
        counts[sample.rows[:, 0]] += 1
    assert (counts / 2000 - 0.25).abs().max() < 4.5 * (0.25 * 0.75 / 2000) ** 0.5


def test_refusals() -> None:
    images, labels = torch.rand(2, 3, 8, 8), torch.tensor([0, 3])
    with pytest.raises(UserError, match="labels run from 0 to 3; with n_classes=3"):
        measure_activity(conv3(), "relu1", [(images, labels)], 3)
    with pytest.raises(UserError, match="no data"):
        measure_activity(conv3(), "relu1", [], 3)
    with pytest.raises(UserError, match="not maps"):
        measure_activity(conv3(), "flatten", [(images, labels)], 4)
