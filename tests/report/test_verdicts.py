"""Intervals, agreement with printed numbers, claims and the verdict of a page, against values worked out by hand."""

import math
from typing import Any

import pytest
from scipy.stats import binomtest

from tests.report.test_tables import record
from xcnn.report.tables import PaperNumber, Row, aggregate
from xcnn.report.verdicts import Claim, Comparison, claim, claim_within, compare, judge, over_seeds, spread, wilson


def row(method: str = "plain", n: int = 100, seeds: tuple[int, ...] = (0,), **values: Any) -> Row:
    """A row with `n` images; a list is a value for each seed."""
    records = [
        record(method, seed, **{k.replace("_dot_", "."): v[i] if isinstance(v, list) else v for k, v in values.items()})
        | {"n": n}
        for i, seed in enumerate(seeds)
    ]
    return aggregate(records)[0]


def test_t_interval_of_three_seeds() -> None:
    found = over_seeds([1.0, 2.0, 3.0])  # standard error 1 / sqrt(3), t(2) = 4.303
    assert (found.value, found.over, found.n) == (2.0, "seeds", 3)
    assert found.low == pytest.approx(2 - 4.302653 / math.sqrt(3), abs=1e-5)
    assert found.high == pytest.approx(2 + 4.302653 / math.sqrt(3), abs=1e-5)


@pytest.mark.parametrize(("k", "n"), [(0, 20), (7, 20), (20, 20), (985, 1000)])
def test_wilson_is_scipys(k: int, n: int) -> None:
    expected = binomtest(k, n).proportion_ci(method="wilson")
    assert wilson(k / n, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_a_spread_is_the_first_that_there_is() -> None:
    ends = {"drop": 40.0, "drop_dot_low": 38.0, "drop_dot_high": 43.0}
    assert spread(row(**ends), "drop").over == "images"
    assert (spread(row(**ends), "drop").low, spread(row(**ends), "drop").high) == (38.0, 43.0)
    assert spread(row(seeds=(0, 1), drop=[1.0, 3.0], drop_dot_low=0.0, drop_dot_high=4.0), "drop").over == "seeds"
    wide = row(seeds=(0, 1), drop=[0.2, 0.9])
    assert spread(wide, "drop").low < 0 and spread(wide, "drop").high > 1
    for unit, high in (("rate", 1.0), ("share", 1.0), ("%", over_seeds([0.2, 0.9]).high)):
        assert (spread(wide, "drop", unit).low, spread(wide, "drop", unit).high) == (0.0, high)
    assert spread(row(seeds=(0, 1), drop=[-0.2, 0.9]), "drop", "rate").high > 1  # it is none
    assert spread(row(top1=0.7, n=1000), "top1", "rate").over == "none"
    share = spread(row(top1=70.8, n=1000), "top1", "%")
    assert share.over == "share" and (share.low, share.high) == pytest.approx([100 * e for e in wilson(0.708, 1000)])
    assert spread(row(top1=0.708, n=1000), "top1", "share").high == pytest.approx(wilson(0.708, 1000)[1])
    assert spread(row(train=90.0, train_dot_n=400), "train", "%").n == 400
    alone = spread(row(ratio=0.5), "ratio")
    assert (alone.low, alone.high, alone.over) == (0.5, 0.5, "none")


@pytest.mark.parametrize(
    ("printed", "ours", "agrees"),
    [
        ("47.03", 47.035, True),
        ("47.03", 47.0249, False),
        ("47.0", 47.03, True),
        ("47", 46.51, True),
        ("47", 46.49, False),
        ("-0.05", -0.0549, True),
        ("1.00", 0.994, False),
    ],
)
def test_without_a_spread_only_the_rounding_of_the_printed_digits_is_granted(
    printed: str, ours: float, agrees: bool
) -> None:
    (found,) = compare([row(drop=ours)], [PaperNumber("plain", "drop", printed, "table 1")])
    assert found.verdict == ("agrees" if agrees else "differs")


def test_an_interval_agrees_if_it_meets_the_rounding() -> None:
    ends = {"drop": 40.0, "drop_dot_low": 38.0, "drop_dot_high": 43.0}
    numbers = [PaperNumber("plain", "drop", text, "table 1") for text in ("43.1", "43", "38.0", "37.9")]
    assert [one.verdict for one in compare([row(**ends)], numbers)] == ["differs", "agrees", "agrees", "differs"]


def test_what_is_compared_with_what() -> None:
    rows = [row(**{"drop/black": 40.0, "drop/mean": 41.0}), row("loss", accuracy=0.9)]
    paper = [
        PaperNumber("plain", "drop/*", "40", "table 1"),
        PaperNumber("loss", "accuracy", "0.9", "table 1", dataset="CUB"),
        PaperNumber("absent", "accuracy", "0.9", "table 1", not_run="no weights"),
    ]
    found = compare(rows, paper)
    assert [(one.metric, one.verdict) for one in found] == [
        ("drop/black", "agrees"), ("drop/mean", "differs"), ("accuracy", "not run"), ("accuracy", "not run"),
    ]  # fmt: skip
    assert found[1].difference == pytest.approx(1.0) and math.isnan(found[2].difference)


# Claims


def test_a_claim_over_images_takes_the_recorded_pairs() -> None:
    less = {"drop_dot_less": -2.0, "drop_dot_less_low": -3.0, "drop_dot_less_high": -1.0}
    rows = [row("new", drop=38.0, n=500, **less), row("old", drop=40.0, n=500), row("other", drop=39.0, n=500)]
    found = claim(rows, "drop", "new", "old", "lower").difference
    assert found is not None and (found.low, found.high, found.over, found.n) == (-3.0, -1.0, "images", 500)
    assert claim(rows, "drop", "new", "old", "lower").verdict == "holds"
    assert claim(rows, "drop", "new", "old", "higher").verdict == "does not hold"
    against = claim(rows, "drop", "new", "other", "lower")  # the recorded pairs are with `old`
    assert against.difference is not None and against.difference.over == "none"
    assert against.as_said and not claim(rows, "drop", "new", "other", "higher").as_said
    assert against.verdict == "one run", "its sign is right, and nothing tells of a spread"
    pairs = {"drop_dot_less_other": -1.0, "drop_dot_less_other_low": -1.5, "drop_dot_less_other_high": 0.5}
    rows[0] = row("new", drop=38.0, n=500, drop_dot_n=400, **less, **pairs)
    against = claim(rows, "drop", "new", "other", "lower")  # now with it as well, over the images that have the metric
    assert against.verdict == "not told apart" and against.difference is not None
    assert (against.difference.low, against.difference.high, against.difference.n) == (-1.5, 0.5, 400)
    assert claim(rows, "drop", "new", "old", "lower").verdict == "holds"


def test_a_claim_over_seeds_pairs_those_that_both_have() -> None:
    rows = [row("new", seeds=(0, 1, 2), a=[2.0, 4.0, 9.0]), row("old", seeds=(1, 2, 5), a=[3.0, 7.0, 0.0])]
    found = claim(rows, "a", "new", "old", "higher").difference
    assert found is not None and found.over == "seeds" and found.n == 2
    assert found.value == 1.5  # 4 - 3 and 9 - 7
    assert found.high - found.value == pytest.approx(12.7062 * 0.5, abs=1e-3)  # t(1) times sqrt(.5) / sqrt(2)
    assert claim(rows, "a", "new", "old", "higher").verdict == "not told apart"


def test_a_claim_of_one_seed_adds_both_spreads() -> None:
    rows = [
        row("new", a=10.0, a_dot_low=7.0, a_dot_high=14.0, n=50),
        row("old", a=5.0, a_dot_low=1.0, a_dot_high=8.0, n=40),
    ]
    found = claim(rows, "a", "new", "old", "higher").difference
    assert found is not None and found.over == "unpaired" and found.n == 40
    assert (found.low, found.high) == pytest.approx((5 - math.hypot(3, 3), 5 + math.hypot(4, 4)))


def test_a_claim_of_printed_numbers_expects_their_difference() -> None:
    paper = [
        PaperNumber("new", "test", "99.4", "table 2", "%", dataset="toy"),
        PaperNumber("old", "test", "99.4", "table 2", "%", dataset="toy"),
        PaperNumber("old", "test", "55", "table 2", "%", dataset="CUB"),
    ]
    rows = [row("new", seeds=(0, 1), test=[99.1, 99.2]), row("old", seeds=(0, 1), test=[99.2, 99.3])]
    found = claim(rows, "test", "new", "old", paper, dataset="toy")
    assert found.printed == 0 and found.expected == pytest.approx((-0.1, 0.1)) and found.unit == "%"
    assert found.verdict == "holds"  # every pair is -0.1 apart
    wide = [row("new", seeds=(0, 1), test=[98.1, 99.3]), row("old", seeds=(0, 1), test=[99.2, 99.3])]
    assert claim(wide, "test", "new", "old", paper, dataset="toy").verdict == "not told apart"  # -0.55 [-7.5, +6.4]
    apart = [row("new", seeds=(0, 1), test=[98.1, 98.2]), row("old", seeds=(0, 1), test=[99.2, 99.3])]
    assert claim(apart, "test", "new", "old", paper, dataset="toy").verdict == "does not hold"
    with pytest.raises(ValueError, match="no test of third"):
        claim(rows, "test", "third", "old", paper)


def test_a_claim_without_a_row_is_not_run() -> None:
    found = claim([row("new", a=1.0)], "a", "new", "old", "lower")
    assert found.difference is None and found.verdict == "not run"
    assert claim([row("new", a=1.0), row("old", b=1.0)], "a", "new", "old", "lower").verdict == "not run"


def test_a_claim_within_a_row_pairs_its_own_values_seed_by_seed() -> None:
    seeds = {"seeds": (0, 1), "fidelity": [0.9, 0.8], "fidelity/majority": [0.4, 0.5]}
    found = claim_within(row(**seeds), "fidelity", ("tree", "fidelity"), ("majority", "fidelity/majority"), "higher")
    assert found.methods == ("tree", "majority") and [each.method for each in found.rows if each] == [
        "tree",
        "majority",
    ]
    assert found.difference is not None and found.difference.over == "seeds" and found.difference.n == 2
    assert found.difference.value == pytest.approx(0.4)  # of 0.5 and 0.3
    by_chance = claim_within(row(**seeds), "fidelity", ("tree", "fidelity"), ("chance", 0.7), "higher", counts=False)
    assert by_chance.difference is not None and by_chance.difference.value == pytest.approx(0.15)
    assert by_chance.difference.over == "seeds" and not by_chance.counts


def test_a_claim_within_a_row_keeps_the_ends_of_intervals() -> None:
    values = {"a/new": 10.0, "a_dot_low/new": 7.0, "a_dot_high/new": 14.0, "a/old": 5.0}
    found = claim_within(row(**values), "a", ("new", "a/new"), ("old", "a/old"), "higher").difference
    assert found is not None and found.over == "unpaired" and found.ends == (5.0, 2.0, 9.0)
    paired = values | {"a_dot_less_old/new": 5.0, "a_dot_less_old_low/new": 4.0, "a_dot_less_old_high/new": 6.0}
    found = claim_within(row(**paired), "a", ("new", "a/new"), ("old", "a/old"), "higher").difference
    assert found is not None and found.over == "images" and found.ends == (5.0, 4.0, 6.0)
    with pytest.raises(KeyError, match="a/other"):
        claim_within(row(**values), "a", ("new", "a/new"), ("other", "a/other"), "higher")


# The verdict of a page


def one(agrees: bool | None, metric: str = "a") -> Comparison:
    number = PaperNumber("plain", metric, "1", "table 1")
    if agrees is None:
        return Comparison(number, metric)
    return compare([row(**{metric: 1.0 if agrees else 3.0})], [number])[0]


def ruled(says: str, counts: bool = True, seeds: int = 2) -> Claim:
    rows = [row(method, seeds=tuple(range(seeds)), a=[value] * seeds) for method, value in (("new", 1.0), ("old", 2.0))]
    return claim(rows, "a", "new", "old", says, counts=counts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("comparisons", "claims", "comparable", "verdict"),
    [
        ([one(True), one(None)], [ruled("lower")], True, "reproduced"),
        ([one(True)], [ruled("higher")], True, "not reproduced"),
        ([one(True)], [ruled("higher", counts=False)], True, "reproduced"),
        ([one(True)], [ruled("higher", seeds=1)], True, "reproduced"),  # one run decides nothing
        ([], [ruled("lower", seeds=1)], True, "not comparable"),
        ([one(True), one(False)], [], True, "not reproduced"),
        ([one(True)], [], False, "not comparable"),
        ([one(None)], [], True, "not run"),
        ([one(None)], [], False, "not comparable"),
    ],
)
def test_the_verdict_of_a_page(
    comparisons: list[Comparison], claims: list[Claim], comparable: bool, verdict: str
) -> None:
    assert judge(comparisons, claims, comparable) == verdict


def test_comparisons_that_do_not_count() -> None:
    found = [one(True, "a"), one(False, "b")]
    assert judge(found, [], counts=lambda comparison: comparison.metric == "a") == "reproduced"
    assert judge([], []) == "not comparable"
