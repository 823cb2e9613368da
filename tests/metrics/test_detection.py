"""The area under the ROC curve against scikit-learn's and by hand, and intervals that hold it."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from xcnn.errors import UserError
from xcnn.metrics.detection import auroc


def test_it_is_scikit_learns_in_every_column_also_with_ties() -> None:
    generator = np.random.default_rng(0)
    one, other = generator.integers(0, 5, (40, 2, 3)), generator.integers(0, 4, (25, 2, 3))
    found = auroc(one, other, n_resamples=0)
    labels = np.r_[np.ones(40), np.zeros(25)]
    for place in np.ndindex(2, 3):
        own = roc_auc_score(labels, np.r_[one[:, *place], other[:, *place]])
        assert found.mean[place] == pytest.approx(own, abs=1e-12)
    assert np.isnan(found.low).all() and np.isnan(found.high).all()


def test_by_hand() -> None:
    assert auroc([3.0, 1.0], [2.0, 0.0, 1.0]).mean == pytest.approx((3 + 1.5) / 6)
    sure = auroc([2.0, 3.0], [0.0, 1.0])
    assert sure.mean == sure.low == sure.high == 1


def test_nine_of_ten_intervals_hold_the_truth_and_pairs_make_them_narrower() -> None:
    generator = np.random.default_rng(1)
    own = generator.normal(size=(60, 400))  # what an image's two scores share, in each of 400 trials
    one, other = (own + 0.3 * generator.normal(size=own.shape) for _ in range(2))
    paired, apart = (auroc(one, other, paired=each, n_resamples=200) for each in (True, False))
    held = (paired.low <= 0.5) & (paired.high >= 0.5)
    assert 0.9 <= held.mean() <= 0.99  # both kinds have one distribution
    assert (paired.high - paired.low).mean() < 0.7 * (apart.high - apart.low).mean()


def test_refusals() -> None:
    for one, other in (([], [1.0]), (np.ones((2, 3)), np.ones((2, 4)))):
        with pytest.raises(UserError, match="give some of both, with the same columns"):
            auroc(one, other)
    with pytest.raises(UserError, match="give some of both"):
        auroc([1.0], [1.0, 2.0], paired=True)
    with pytest.raises(UserError, match="a score is NaN"):
        auroc([1.0, np.nan], [1.0])
