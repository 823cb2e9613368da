"""The studies' arithmetic against the paper's totals, textbook values and answers counted by hand."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from xcnn.errors import UserError
from xcnn.metrics.bootstrap import interval
from xcnn.metrics.human_study import (
    chosen_of_shown,
    fleiss_kappa,
    head_to_head,
    krippendorff_alpha,
    luce_strengths,
    model_comparison,
    preferences,
    vote_counts,
    votes_by_rater,
)

METHODS = ("Grad-CAM", "Ablation-CAM", "Pixel Ablation-CAM")
IMAGES = ("a", "b", "c", "d")
GRAD, ABLATION, PIXEL, SAME = *METHODS, "same"


def votes(*rows: tuple[str, int, str | None]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["image", "rater", "choice"])


# a: three raters; b: one of two answered; c: shown, its answer missing; d: not answered.
ANSWERS = votes(("a", 1, PIXEL), ("a", 2, PIXEL), ("a", 3, SAME), ("b", 2, GRAD), ("b", 1, None), ("c", 1, None))


# Section 4.3


def test_counts_by_hand() -> None:
    counts = vote_counts(ANSWERS, IMAGES, METHODS)
    assert counts.tolist() == [[0, 0, 2, 1], [1, 0, 0, 0], [0] * 4, [0] * 4]
    shuffled = ANSWERS.sample(frac=1, random_state=0)
    assert vote_counts(shuffled, IMAGES[::-1], METHODS).tolist() == counts[::-1].tolist()
    assert not vote_counts(ANSWERS[:0], IMAGES, METHODS).any()


def test_each_image_counts_the_same_however_many_answered() -> None:
    result = preferences(vote_counts(ANSWERS, (*IMAGES, "e"), METHODS), METHODS)
    assert {name: total.mean for name, total in result.totals.items()} == pytest.approx(
        {GRAD: 1, ABLATION: 0, PIXEL: 2 / 3, SAME: 1 / 3}
    )
    assert {name: share.mean for name, share in result.shares.items()} == pytest.approx(
        {GRAD: 3 / 5, ABLATION: 0, PIXEL: 2 / 5}
    )
    assert (result.maximum, result.without_votes) == (2, 3)


def test_the_papers_totals_and_share() -> None:
    # Its totals are multiples of 1/4 that add up to 250: one way to get them is four of the raters for every image.
    choices = np.repeat([0, 1, 2, 3], [161, 314, 463, 62])
    counts = np.stack([np.bincount(choices[image::250], minlength=4) for image in range(250)])
    result = preferences(counts, METHODS)
    assert [total.mean for total in result.totals.values()] == pytest.approx([40.25, 78.50, 115.75, 15.50])
    assert result.maximum == 250
    assert result.shares[PIXEL].mean == pytest.approx(115.75 / 234.5)
    assert 100 * result.shares[PIXEL].mean == pytest.approx(49.35, abs=0.011)  # printed 49.35; it is 49.360
    assert 44 < 100 * result.shares[PIXEL].low < 49.35 < 100 * result.shares[PIXEL].high < 54


def test_intervals_are_of_the_resampled_images() -> None:
    counts = np.random.default_rng(3).integers(0, 4, (30, 4))
    counts[5] = 0
    result = preferences(counts, METHODS, n_resamples=200, seed=4, level=0.8)
    voted = counts[counts.any(1)]
    per_image = voted / voted.sum(1, keepdims=True)
    drawn = np.random.default_rng(4).integers(0, len(voted), (200, len(voted)))
    totals = per_image[drawn].sum(1)
    shares = totals[:, :3] / totals[:, :3].sum(1, keepdims=True)
    for resampled, intervals in ((totals, result.totals), (shares, result.shares)):
        expected = np.quantile(resampled, [0.1, 0.9], axis=0).T
        np.testing.assert_allclose([entry[1:] for entry in intervals.values()], expected)


def test_votes_by_rater_add_up_to_counts() -> None:
    votes = votes_by_rater(ANSWERS, IMAGES, METHODS)
    assert votes[1].tolist() == [[0, 0, 1, 0], [1, 0, 0, 0], [0] * 4, [0] * 4]  # the rater of the second answer
    np.testing.assert_array_equal(votes.sum(0), vote_counts(ANSWERS, IMAGES, METHODS))


def test_intervals_over_raters_are_wider_where_raters_differ() -> None:
    """Three raters who each like one method on all images: an image is always 1/3, a resample of raters is not."""
    votes = np.zeros((3, 20, 4), int)
    for rater in range(3):
        votes[rater, :, rater] = 1
    images, both = preferences(votes.sum(0), METHODS), preferences(votes, METHODS)
    assert images.totals[GRAD] == pytest.approx((20 / 3,) * 3)
    assert both.totals[GRAD] == pytest.approx((20 / 3, 0, 20))
    assert both.totals[SAME] == (0, 0, 0)


def test_only_same_leaves_nothing_to_share() -> None:
    result = preferences(np.array([[0, 0, 0, 5]]), METHODS)
    assert result.totals[SAME].mean == 1
    assert np.isnan([share.mean for share in result.shares.values()]).all()


# Agreement


def test_kappa_of_the_textbook() -> None:
    """14 raters, 10 subjects, 5 categories: the example of Wikipedia's "Fleiss' kappa", 0.210."""
    table = """0 0 0 0 14  0 2 6 4 2  0 0 3 5 6  0 3 9 2 0  2 2 8 1 1
               7 7 0 0 0   3 2 6 3 0  2 5 3 2 2  6 5 2 1 0  0 2 2 3 7"""
    counts = np.array(table.split(), int).reshape(10, 5)
    assert fleiss_kappa(counts) == pytest.approx(0.210, abs=5e-4)


def test_kappa_with_missing_answers_is_agreement_of_pairs() -> None:
    counts = np.array([[3, 0, 1], [0, 2, 0], [1, 0, 0], [0, 0, 0], [1, 1, 2]])  # 4, 2, 1, 0 and 4 raters
    pairs = []
    for row in counts[[0, 1, 4]]:
        raters = np.repeat(range(3), row)
        pairs.append(np.mean([i == j for i, j in itertools.permutations(raters.tolist(), 2)]))
    shares = (np.array([3, 0, 1]) / 4 + [0, 1, 0] + [1, 0, 0] + np.array([1, 1, 2]) / 4) / 4
    chance = (shares**2).sum()
    assert fleiss_kappa(counts) == pytest.approx((np.mean(pairs) - chance) / (1 - chance))


def test_kappa_at_its_ends() -> None:
    assert fleiss_kappa(np.array([[5, 0], [0, 5]])) == 1
    assert fleiss_kappa(np.array([[1, 1], [1, 1]])) == -1
    for counts in ([[5, 0], [3, 0]], [[1, 0], [0, 1]], [[0, 0]]):  # one category, no pair, no vote
        assert np.isnan(fleiss_kappa(np.array(counts)))
    chance = np.random.default_rng(0).multinomial(15, [0.2, 0.3, 0.5], 2000)
    assert fleiss_kappa(chance) == pytest.approx(0, abs=0.01)


def test_alpha_of_the_textbook() -> None:
    """Krippendorff (2011), section C: four observers, twelve units, five values; 0.743 nominal, 0.849 interval."""
    nan = np.nan
    table = np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, nan, nan, nan],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, nan, 3],
            [nan, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, nan],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, nan],
        ]
    )
    counts = np.stack([(table == value).sum(0) for value in range(1, 6)], 1)
    assert krippendorff_alpha(counts) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(counts, range(1, 6)) == pytest.approx(0.849, abs=5e-4)


def test_alpha_by_hand_and_against_the_package() -> None:
    # (2, 1) and (0, 2): observed pairs that differ 4 / (3 - 1); 2, 3 of 5: expected 2 * 2 * 3 / (5 - 1).
    assert krippendorff_alpha(np.array([[2, 1], [0, 2], [1, 0]])) == pytest.approx(1 - 2 / 3)
    assert krippendorff_alpha(np.array([[4, 0], [0, 4]])) == 1
    assert np.isnan(krippendorff_alpha(np.array([[4, 0], [2, 0]])))
    package = pytest.importorskip("krippendorff")
    counts = np.random.default_rng(0).multinomial(5, [0.1, 0.2, 0.3, 0.2, 0.2], 30)
    values = np.array([-2, -1, 0, 1, 2])
    for level, numbers in (("nominal", None), ("interval", values)):
        expected = package.alpha(value_counts=counts, value_domain=values, level_of_measurement=level)
        assert krippendorff_alpha(counts, numbers) == pytest.approx(expected)


# Strengths


def test_strengths_of_whole_choices_are_log_shares() -> None:
    choices = np.repeat([0, 1, 2], [161, 314, 463])  # the paper's votes, "same" left out
    strengths = luce_strengths(choices, np.ones((len(choices), 3), bool))
    expected = np.log([161, 314, 463])
    np.testing.assert_allclose(strengths, expected - expected.mean(), atol=1e-8)


def test_strengths_of_pairs_maximise_the_likelihood() -> None:
    generator = np.random.default_rng(1)
    shown = np.array([generator.permutation([True, True, False, False]) for _ in range(200)])
    scores = np.where(shown, np.array([0, 0.5, 1, 2]) + generator.gumbel(size=shown.shape), -np.inf)
    choices = scores.argmax(1)

    def loss(free: np.ndarray) -> float:
        logits = np.where(shown, np.append(free, 0), -np.inf)
        return float((np.log(np.exp(logits).sum(1)) - logits[range(200), choices]).sum())

    expected = np.append(minimize(loss, np.zeros(3)).x, 0)
    np.testing.assert_allclose(luce_strengths(choices, shown), expected - expected.mean(), atol=1e-4)


def test_strengths_that_cannot_be() -> None:
    everything = np.ones((4, 3), bool)
    with pytest.raises(UserError, match="never over the others"):
        luce_strengths(np.array([0, 1, 0, 1]), everything)
    with pytest.raises(UserError, match="not shown"):
        luce_strengths(np.array([0, 1]), np.array([[True, True], [True, False]]))


# Section 4.4


def scores(*rows: tuple[str, int, str, float | None]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["image", "rater", "left", "score"])


MODELS = ("ResNet-50", "VGG-16")


def test_blind_order_is_undone_and_images_count_the_same() -> None:
    answers = scores(
        ("a", 1, "ResNet-50", 2),
        ("a", 2, "VGG-16", -1),
        ("a", 3, "VGG-16", 0),
        ("b", 1, "VGG-16", 2),
        ("c", 1, "VGG-16", None),
    )
    result = model_comparison(answers, (*IMAGES, "e"), MODELS, over_raters=False)
    assert result.score.mean == pytest.approx((1 - 2) / 2)
    assert (result.images, result.without_scores) == (2, 3)
    assert (result.score.low, result.score.high) == (-2, 1)
    other = model_comparison(answers, IMAGES, MODELS[::-1])
    assert other.score.mean == -result.score.mean
    # Rater 1 has (2, -2) -> 0, rater 2 has 1, rater 3 has 0: one above, none below; the left maps got 2, -1, 0 and 2.
    assert (result.raters, result.p, result.left) == ((1, 0), 1, 3 / 4)
    assert other.raters == (0, 1)


def test_the_papers_mean() -> None:
    """1.48 from 25 images and four raters; which side a model was on changes nothing."""
    given = np.random.default_rng(0).permutation(np.repeat([2, 1, 0], [60, 28, 12]))
    left = np.random.default_rng(1).integers(0, 2, 100)
    rows = [
        (f"image {k // 4}", k % 4, MODELS[side], score * (1 - 2 * side))
        for k, (score, side) in enumerate(zip(given.tolist(), left.tolist(), strict=True))
    ]
    images = [f"image {k}" for k in range(25)]
    result = model_comparison(scores(*rows), images, MODELS, over_raters=False)
    assert result.score.mean == pytest.approx(1.48)
    error = given.reshape(25, 4).mean(1).std() / 5
    assert result.score.high - result.score.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    expected = interval(given.reshape(25, 4).mean(1)[np.argsort(images)], n_resamples=100, seed=3, level=0.5)
    again = model_comparison(scores(*rows), images, MODELS, n_resamples=100, seed=3, level=0.5, over_raters=False)
    assert again.score == expected
    both = model_comparison(scores(*rows), images, MODELS).score
    assert both.low < result.score.low < both.mean < result.score.high < both.high
    assert model_comparison(scores(*rows), images, MODELS).p == pytest.approx(2 / 2**4)  # four raters, all above


# Refusals


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (votes(("a", 1, "Score-CAM")), "choice 'Score-CAM' is not known"),
        (votes(("e", 1, SAME)), "image 'e' is not known"),
        (votes(("a", 1, SAME), ("a", 1, PIXEL)), "more than once"),
        (votes().drop(columns="rater"), "no column rater"),
    ],
)
def test_votes_that_cannot_be(answers: pd.DataFrame, message: str) -> None:
    with pytest.raises(UserError, match=message):
        vote_counts(answers, IMAGES, METHODS)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (scores(("a", 1, "VGG-16", 3)), "score 3 is not one of"),
        (scores(("a", 1, "VGG-16", 1), ("b", 1, "VGG-16", 0.5)), "score 0.5"),
        (scores(("a", 1, "VGG-19", 1)), "left 'VGG-19'"),
        (scores(("e", 1, "VGG-16", 1)), "image 'e'"),
        (scores(("a", 1, "VGG-16", 1), ("a", 1, "ResNet-50", 1)), "more than once"),
        (scores(("a", 1, "VGG-16", None)), "collect answers"),
        (scores().drop(columns="left"), "no column left"),
    ],
)
def test_scores_that_cannot_be(answers: pd.DataFrame, message: str) -> None:
    with pytest.raises(UserError, match=message):
        model_comparison(answers, IMAGES, MODELS)


def test_counts_that_cannot_be() -> None:
    with pytest.raises(UserError, match="collect answers"):
        preferences(np.zeros((3, 4), int), METHODS)
    with pytest.raises(UserError, match="same methods"):
        preferences(np.ones((3, 3), int), METHODS)
    with pytest.raises(UserError, match="listed twice"):
        vote_counts(ANSWERS, (*IMAGES, "a"), METHODS)


def test_choices_whatever_was_shown() -> None:
    answers = pd.DataFrame(
        {
            "image": ["x", "y", "x", "z", "y", "x"],
            "rater": [0, 0, 1, 1, 2, 3],
            "choice": ["a", "same", "b", None, "c", "b"],
            "sides": ["a|b|c", "a|b", "b|a", "a|b", "a|c", "b|other"],
        }
    )
    choices, shown, kept = chosen_of_shown(answers, ["a", "b", "c"])
    np.testing.assert_array_equal(choices, [0, 1, 2])
    np.testing.assert_array_equal(shown, [[1, 1, 1], [1, 1, 0], [1, 0, 1]])
    assert kept["rater"].tolist() == [0, 1, 2]


def test_head_to_head_counts_only_where_both_were_shown() -> None:
    answers = pd.DataFrame(
        {
            "image": ["x", "y", "x", "x", "y", "z"],
            "rater": [0, 0, 1, 2, 2, 2],
            "choice": ["a", "b", "b", "c", "a", "a"],
            "sides": ["a|b|c", "b|a", "c|b|a", "a|b|c", "a|c", "a|b"],
        }
    )
    wins, asked = head_to_head(answers, "a", "b")
    np.testing.assert_array_equal(asked, [[1, 1, 0], [1, 0, 0], [0, 0, 1]])  # raters 0, 1, 2; images x, y, z
    np.testing.assert_array_equal(wins, [[1, 0, 0], [0, 0, 0], [0, 0, 1]])
