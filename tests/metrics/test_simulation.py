"""Scores of simulations against scipy and scikit-learn; NeuronEval's tests pass what they should and catch what not."""

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from sklearn.metrics import average_precision_score

from xcnn.metrics.simulation import LabelTests, average_precisions, correlations, firing, label_tests, recalls


def pair(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions with many ties, (4, 400), and sparse filters that partly follow them, (3, 400)."""
    generator = torch.Generator().manual_seed(seed)
    predicted = (torch.rand(4, 400, generator=generator) * 5).round() / 5
    actual = (predicted[:3] + 0.4 * torch.randn(3, 400, generator=generator) - 0.4).relu()
    return predicted, actual


def test_correlations_are_scipys() -> None:
    predicted, actual = pair()
    expected = [[pearsonr(p, a).statistic for a in actual.double().numpy()] for p in predicted.double().numpy()]
    np.testing.assert_allclose(correlations(predicted, actual), expected, atol=1e-12)
    assert correlations(predicted, actual).diagonal().min() > 0.3


def test_a_constant_prediction_says_nothing_and_of_a_constant_filter_nothing_can_be_said() -> None:
    predicted, actual = pair()
    predicted[1], actual[2] = 0.1, 0.7
    found = correlations(predicted, actual)
    assert (found[1, :2] == 0).all() and found[:, 2].isnan().all() and not found[:, :2].isnan().any()


def test_a_filter_fires_on_its_strongest_cells() -> None:
    actual = torch.tensor(
        [[0.0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [0, 0, 0, 0, 0, 0, 0, 0, 0, 2], [3, 3, 3, 0, 0, 0, 0, 0, 0, 0]]
    )
    assert [torch.nonzero(row).flatten().tolist() for row in firing(actual, 0.2)] == [[8, 9], [9], [0, 1, 2]]


def test_average_precisions_are_scikit_learns() -> None:
    predicted, actual = pair()
    labels = firing(actual, 0.1).numpy()
    expected = [[average_precision_score(y, p) for y in labels] for p in predicted.numpy()]
    np.testing.assert_allclose(average_precisions(predicted, actual, 0.1), expected, atol=1e-12)
    constant = average_precisions(torch.ones(1, 400), actual, 0.1)[0]
    np.testing.assert_allclose(constant, labels.mean(1), atol=1e-12)
    assert average_precisions(predicted, torch.zeros(1, 400)).isnan().all()


def test_missing_and_extra_labels() -> None:
    """Both scores fall in both tests; recall is blind to false labels, and a score that likes few labels to missing."""
    generator = torch.Generator().manual_seed(3)
    concepts = torch.rand(12, 2000, generator=generator) < 0.08
    actual = (concepts + 0.2 * torch.randn(12, 2000, generator=generator)).relu()
    for score in (correlations, average_precisions):
        assert label_tests(concepts, actual, score) == LabelTests(1, 1)
    assert label_tests(concepts, actual, recalls) == LabelTests(1, 0)

    def fewest(predicted: torch.Tensor, actual: torch.Tensor) -> torch.Tensor:
        return -predicted.sum(1, keepdim=True).expand(-1, len(actual))

    assert label_tests(concepts, actual, fewest) == LabelTests(0, 1)


@pytest.mark.parametrize("score", [correlations, average_precisions])
def test_of_filters_that_follow_nothing_the_scores_fall_about_half_the_time(score: object) -> None:
    generator = torch.Generator().manual_seed(4)
    concepts = torch.rand(60, 500, generator=generator) < 0.1
    actual = torch.rand(60, 500, generator=generator)
    found = label_tests(concepts, actual, score)  # type: ignore[arg-type]
    assert all(0.2 < share < 0.8 for share in found)
