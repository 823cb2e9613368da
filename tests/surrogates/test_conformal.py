"""Conformal sets against scores formed by hand, the exact law of their coverage, and their errors."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from xcnn.errors import UserError
from xcnn.surrogates import ConformalSets, coverage_band, coverage_law, threshold

ROW = torch.tensor([[0.1, 0.6, 0.25, 0.05]])


def drawn(n: int, classes: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Probabilities, and labels that follow them."""
    generator = torch.Generator().manual_seed(seed)
    probabilities = (2 * torch.randn(n, classes, generator=generator)).softmax(1)
    return probabilities, torch.multinomial(probabilities, 1, generator=generator)[:, 0]


def test_scores_by_hand() -> None:
    u = np.random.default_rng((7, 0)).random()  # what the docstring promises of an image's random number
    np.testing.assert_allclose(ConformalSets("lac").scores(ROW)[0], [0.9, 0.4, 0.75, 0.95], atol=1e-6)
    expected = [0.85 + 0.1 * u, 0.6 * u, 0.6 + 0.25 * u, 0.95 + 0.05 * u]
    np.testing.assert_allclose(ConformalSets("aps", seed=7).scores(ROW)[0], expected, atol=1e-6)
    penalised = np.add(expected, [0.02 * 2, 0, 0.02, 0.02 * 3])  # ranks 3, 1, 2, 4 beyond the first
    found = ConformalSets("raps", penalty=0.02, rank=1, seed=7).scores(ROW)[0]
    np.testing.assert_allclose(found, penalised, atol=1e-6)


@pytest.mark.parametrize(
    ("n", "alpha", "place"), [(9, 0.1, 9), (10, 0.1, 10), (19, 0.1, 18), (99, 0.05, 95), (3, 0.5, 2)]
)
def test_threshold_is_the_rank_of_the_definition(n: int, alpha: float, place: int) -> None:
    scores = torch.arange(1, n + 1).double()[torch.randperm(n, generator=torch.Generator().manual_seed(0))]
    assert float(threshold(scores, alpha)) == place


@pytest.mark.parametrize("score", ["lac", "aps", "raps"])
def test_sets_are_the_classes_below_the_threshold(score: str) -> None:
    probabilities, labels = drawn(60)
    sets = ConformalSets(score, alpha=0.2, rank=1, penalty=0.05, seed=3).fit(probabilities[:40], labels[:40])  # type: ignore[arg-type]
    assert sets.threshold_ is not None
    own = sorted(float(sets.scores(probabilities[i : i + 1])[0, labels[i]]) for i in range(1))  # the first image's u
    assert own[0] == pytest.approx(float(sets.scores(probabilities[:40])[0, labels[0]]))
    ranked = sets.scores(probabilities[:40]).gather(1, labels[:40, None])[:, 0].sort().values
    assert float(sets.threshold_[0]) == float(ranked[32])  # ceil(41 x 0.8) = 33rd
    expected = sets.scores(probabilities[40:], stream=1) <= ranked[32]
    assert torch.equal(sets.predict(probabilities[40:]), expected) and expected.dtype == torch.bool


@pytest.mark.parametrize("score", ["lac", "aps", "raps"])
def test_coverage_over_random_halves_follows_the_exact_law(score: str) -> None:
    probabilities, labels = drawn(400, classes=20)
    scores = ConformalSets(score, alpha=0.1).scores(probabilities)  # type: ignore[arg-type]
    own = scores.gather(1, labels[:, None])[:, 0]
    shares = []
    for split in range(300):
        order = torch.randperm(400, generator=torch.Generator().manual_seed(split))
        shares.append(float((own[order[200:]] <= threshold(own[order[:200]], 0.1)).double().mean()))
    low, high = coverage_band(200, 200, 0.1, splits=300, level=0.999)
    assert low <= np.mean(shares) <= high
    assert np.std(shares) == pytest.approx(coverage_law(200, 200, 0.1).std() / 200, rel=0.15)


def test_the_law_is_that_of_all_halves_counted_one_by_one() -> None:
    """Of 8 images whose scores differ: 4 calibrate, in each of the 70 ways, and the others are covered or not."""
    counts = np.zeros(5)
    for chosen in itertools.combinations(range(8), 4):
        limit = float(threshold(torch.tensor(chosen).double(), 0.4))  # the third smallest
        counts[sum(score <= limit for score in set(range(8)) - set(chosen))] += 1
    np.testing.assert_allclose(coverage_law(4, 4, 0.4).pmf(np.arange(5)), counts / 70)


def test_band_of_one_split_and_of_many() -> None:
    law = coverage_law(50, 40, 0.1)
    assert coverage_band(50, 40, 0.1) == (law.ppf(0.025) / 40, law.ppf(0.975) / 40)
    low, high = coverage_band(50, 40, 0.1, splits=100)
    half = 1.96 * law.std() / 40 / 10  # normal by then
    assert (high - low) / 2 == pytest.approx(half, rel=0.03) and (high + low) / 2 == pytest.approx(46 / 51, abs=2e-3)


def test_by_class_covers_a_class_that_the_whole_leaves_out() -> None:
    """A class that the network never gets right: one in ten of the images, as many as may be lost."""
    labels = torch.arange(1000) % 10
    probabilities = torch.full((1000, 10), 0.01)
    probabilities[torch.arange(1000), labels.where(labels != 9, torch.zeros(()).long())] = 0.91
    whole, by_class = (ConformalSets("lac", 0.11, by_class=own).fit(probabilities, labels) for own in (False, True))
    covered = [sets.predict(probabilities)[labels == 9, 9].double().mean() for sets in (whole, by_class)]
    assert covered == [0, 1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"alpha": 0.0}, r"in \(0, 1\), not 0"),
        ({"alpha": 1.0}, r"in \(0, 1\), not 1"),
        ({"score": "top"}, "unknown score 'top'; there are: lac, aps, raps"),
        ({"score": "raps", "penalty": -1.0}, "penalty and rank must be at least 0"),
    ],
)
def test_refused_settings(options: dict[str, float], said: str) -> None:
    with pytest.raises(UserError, match=said):
        ConformalSets(**options)  # type: ignore[arg-type]


def test_calibration_smaller_than_one_over_alpha() -> None:
    probabilities, labels = drawn(9)
    ConformalSets("lac", 0.1).fit(probabilities, labels)
    with pytest.raises(UserError, match=r"8 calibration images cannot tell of 0.1: give at least 9"):
        ConformalSets("lac", 0.1).fit(probabilities[:8], labels[:8])
    with pytest.raises(UserError, match=r"class 1: 4 calibration images"):
        ConformalSets("lac", 0.1, by_class=True).fit(probabilities[:1].repeat(40, 1), (torch.arange(40) > 35).long())


def test_refused_inputs() -> None:
    probabilities, labels = drawn(20)
    with pytest.raises(UserError, match="call fit"):
        ConformalSets().predict(probabilities)
    with pytest.raises(UserError, match=r"no probabilities .* pass softmax"):
        ConformalSets().fit(10 * probabilities, labels)
    with pytest.raises(UserError, match=r"label in 0\.\.4"):
        ConformalSets().fit(probabilities, labels + 1)
    with pytest.raises(UserError, match="calibrated on 5 classes, asked for 4"):
        ConformalSets().fit(probabilities, labels).predict(probabilities[:, :4].softmax(1))
