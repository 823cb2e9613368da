"""Verdicts: a paper's numbers and claims against ours, each with its spread.

A printed number stands for an interval, half a unit of its last digit to either side; ours is an interval as well (see
`spread`). The two agree if they overlap. A claim compares two of our rows with each other; its interval is of their
difference, paired over images or seeds where that is possible.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal

from scipy.special import ndtri, stdtrit  # quantiles; scipy.stats takes a second to import

from xcnn.report.tables import PaperNumber, Row, named, renamed

LEVEL = 0.95
Z = float(ndtri(0.5 + LEVEL / 2))

Agreement = Literal["agrees", "differs", "not run"]
Ruling = Literal["holds", "does not hold", "not told apart", "one run", "not run"]
Verdict = Literal["reproduced", "not reproduced", "not comparable", "not run"]
Spread = Literal["images", "seeds", "share", "unpaired", "none"]


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval.

    Args:
        value: mean over seeds or images.
        low, high: ends of the interval; both `value` where nothing tells of a spread.
        over: what the interval is over: `images` (recorded bootstrap), `seeds` (Student's t), `share` (Wilson's
            interval of a share of n images), `unpaired` (a difference, from the intervals of both), `none`.
        n: number of images or seeds behind it.
    """

    value: float
    low: float
    high: float
    over: Spread
    n: int

    @property
    def ends(self) -> tuple[float, float, float]:
        """The value and the two ends."""
        return self.value, self.low, self.high

    def meets(self, low: float, high: float) -> bool:
        """Whether this interval and [low, high] overlap, but for rounding in floating point."""
        slack = 1e-9 * max(1.0, abs(low), abs(high))
        return self.low <= high + slack and low <= self.high + slack


WHOLE = {"%": 100.0, "share": 1.0, "rate": 1.0}  # units of shares: of the record's images, but for a rate, of others


def over_seeds(values: Sequence[float]) -> Interval:
    """Student's t interval of the mean of at least two values."""
    mean, spread = statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values))
    half = float(stdtrit(len(values) - 1, 0.5 + LEVEL / 2)) * spread
    return Interval(mean, mean - half, mean + half, "seeds", len(values))


def wilson(share: float, n: int) -> tuple[float, float]:
    """Wilson's score interval of a share in [0, 1] of n independent images."""
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def spread(row: Row, metric: str, unit: str = "") -> Interval:
    """Our value with its interval: the first of these that there is.

    1. over seeds, if there are two or more; of a share (a unit of `WHOLE`), within 0 and the whole;
    2. over images, as recorded: `metric.low` and `metric.high`;
    3. of a share of n images (`metric.n`, or the record's n), where `unit` is `%` or `share`;
    4. none: the value alone.
    """
    value, first = row.mean.get(metric, math.nan), row.records[0]
    images = int(row.mean.get(named(metric, "n"), first.get("n", 0)))
    low, high = (row.mean.get(named(metric, end), math.nan) for end in ("low", "high"))
    seeds = [record["values"][metric] for record in row.records if record["values"].get(metric) is not None]
    whole = WHOLE.get(unit)
    if len(seeds) >= 2:
        found = over_seeds(seeds)
        if whole and 0 <= min(seeds) <= max(seeds) <= whole:
            found = replace(found, low=max(found.low, 0.0), high=min(found.high, whole))
        return found
    if not (math.isnan(low) or math.isnan(high)):
        return Interval(value, low, high, "images", images)
    if whole and unit != "rate" and images and 0 <= value <= whole:
        low, high = wilson(value / whole, images)
        return Interval(value, whole * low, whole * high, "share", images)
    return Interval(value, value, value, "none", images)


# A printed number


@dataclass(frozen=True)
class Comparison:
    """A paper's number beside our `metric`; `row` and `ours` are None where nothing was run."""

    paper: PaperNumber
    metric: str
    row: Row | None = None
    ours: Interval | None = None

    @property
    def difference(self) -> float:
        """Ours less the paper's; NaN where nothing was run."""
        return math.nan if self.ours is None else self.ours.value - self.paper.value

    @property
    def verdict(self) -> Agreement:
        if self.ours is None:
            return "not run"
        value, half = self.paper.value, self.paper.half_unit
        return "agrees" if self.ours.meets(value - half, value + half) else "differs"


def compare(rows: Sequence[Row], paper: Iterable[PaperNumber]) -> list[Comparison]:
    """Each of the paper's numbers against every row of ours that it speaks of."""
    comparisons = []
    for number in paper:
        ours = [
            Comparison(number, metric, row, spread(row, metric, number.unit))
            for row in rows
            if row.method == number.row and number.dataset in ("", row.dataset) and number.model in ("", row.model)
            for metric in row.mean
            if fnmatchcase(metric, number.metric) and not math.isnan(row.mean[metric])
        ]
        comparisons += ours or [Comparison(number, number.metric)]
    return comparisons


# A claim


Says = Literal["lower", "higher"] | tuple[PaperNumber, PaperNumber]


@dataclass(frozen=True)
class Claim:
    """A relation between two methods that the paper states: what the first has in `metric`, less what the second has.

    Args:
        metric: the quantity, as records name it.
        methods: the two.
        rows: ours of the two; None where one is not run.
        says: `lower` or `higher` (the sign of the difference), or the paper's two numbers, whose difference is then
            expected, up to the rounding of both.
        unit: of the metric, as in `PaperNumber`.
        counts: whether the verdict of the page counts it; not, for a setting that the paper does not speak of.
    """

    metric: str
    methods: tuple[str, str]
    rows: tuple[Row | None, Row | None]
    says: Says
    unit: str = ""
    counts: bool = True

    @property
    def expected(self) -> tuple[float, float]:
        """The differences that the claim allows."""
        if self.says == "lower":
            return -math.inf, 0.0
        if self.says == "higher":
            return 0.0, math.inf
        first, second = self.says
        difference, half = first.value - second.value, first.half_unit + second.half_unit
        return difference - half, difference + half

    @property
    def printed(self) -> float | None:
        """The difference of the paper's two numbers, if the claim has them."""
        return None if isinstance(self.says, str) else self.says[0].value - self.says[1].value

    @property
    def difference(self) -> Interval | None:
        """Ours: paired over images if recorded, else over common seeds if at least two, else from both spreads.

        Recorded are `metric.less`, `metric.less_low` and `metric.less_high` of the first, less a method that need not
        be the second, or `metric.less_<second>` and so on.

        The last treats the two as independent, which is conservative for methods on the same images. None where a row
        or its value is missing.
        """
        first, second = self.rows
        if first is None or second is None:
            return None
        apart = first.mean.get(self.metric, math.nan) - second.mean.get(self.metric, math.nan)
        if math.isnan(apart):
            return None
        for name in ("less", f"less_{self.methods[1]}"):
            less, low, high = (
                first.mean.get(named(self.metric, end), math.nan) for end in (name, f"{name}_low", f"{name}_high")
            )
            if math.isclose(less, apart, rel_tol=1e-6, abs_tol=1e-6):  # which is against `second`, then
                n = int(first.mean.get(named(self.metric, "n"), first.records[0]["n"]))
                return Interval(less, low, high, "images", n)
        by_seed = [
            {record["seed"]: record["values"].get(self.metric) for record in row.records} for row in (first, second)
        ]
        pairs = [
            value - by_seed[1][seed]
            for seed, value in by_seed[0].items()
            if value is not None and by_seed[1].get(seed) is not None
        ]
        if len(pairs) >= 2:
            return over_seeds(pairs)
        each = [spread(row, self.metric, self.unit) for row in (first, second)]
        low = math.hypot(each[0].value - each[0].low, each[1].high - each[1].value)
        high = math.hypot(each[0].high - each[0].value, each[1].value - each[1].low)
        return Interval(
            apart, apart - low, apart + high, "unpaired" if low or high else "none", min(one.n for one in each)
        )

    @property
    def as_said(self) -> bool:
        """Whether our difference itself is one that the claim allows, whatever its spread."""
        if (ours := self.difference) is None:
            return False
        if isinstance(self.says, str):
            return ours.value < 0 if self.says == "lower" else ours.value > 0
        low, high = self.expected
        return low <= ours.value <= high

    @property
    def verdict(self) -> Ruling:
        """A sign holds if the whole interval has it, and does not if the whole interval has the other.

        One run of which no spread is known decides nothing, whatever its sign. A printed difference holds if ours is
        it, to the rounding of both, and does not if the interval leaves it out.
        Between the two, an interval is too wide to say: a few seeds would bear out anything.
        """
        ours = self.difference
        if ours is None:
            return "not run"
        if ours.over == "none":
            return "one run"
        if not isinstance(self.says, str):
            if not ours.meets(*self.expected):
                return "does not hold"
            alone = Interval(ours.value, ours.value, ours.value, "none", ours.n)
            return "holds" if alone.meets(*self.expected) else "not told apart"
        sign = -1 if self.says == "lower" else 1
        near, far = sorted((sign * ours.low, sign * ours.high))
        return "holds" if near > 0 else "does not hold" if far < 0 else "not told apart"


def claim(
    rows: Sequence[Row],
    metric: str,
    first: str,
    second: str,
    says: Literal["lower", "higher"] | Sequence[PaperNumber],
    dataset: str = "",
    model: str = "",
    unit: str = "",
    counts: bool = True,
) -> Claim:
    """The claim that `first` is lower or higher than `second`, or apart from it by as much as the paper's numbers are.

    Of several rows of a method, the one with the most seeds is taken.

    Args:
        rows: ours, in which those of the two methods are looked for.
        says: `lower`, `higher`, or the numbers of the paper, among which those of the two methods are looked for.
        dataset, model: whose rows and numbers; empty for any.
        unit, counts: as in `Claim`; the unit is that of the paper's numbers where these are given.

    Raises:
        ValueError: the paper's numbers do not have both.
    """

    def of(method: str) -> Row | None:
        found = [r for r in rows if r.method == method and dataset in ("", r.dataset) and model in ("", r.model)]
        return max(found, key=lambda row: row.n, default=None)

    def printed(method: str) -> PaperNumber:
        for number in says:
            if (
                isinstance(number, PaperNumber)
                and number.row == method
                and fnmatchcase(metric, number.metric)
                and (not dataset or number.dataset in ("", dataset))
                and (not model or number.model in ("", model))
            ):
                return number
        raise ValueError(f"the paper's numbers have no {metric} of {method}")

    found = (of(first), of(second))
    if isinstance(says, str):
        return Claim(metric, (first, second), found, says, unit, counts)
    numbers = (printed(first), printed(second))
    return Claim(metric, (first, second), found, numbers, unit or numbers[0].unit, counts)


def claim_within(
    row: Row,
    metric: str,
    first: tuple[str, str],
    second: tuple[str, str | float],
    says: Says,
    unit: str = "",
    counts: bool = True,
) -> Claim:
    """A claim of two values that one cell measured, such as a method's and its control's, seed by seed.

    Args:
        row: the cell's.
        metric: name of the quantity in the claim.
        first, second: what each value is of, and its name in the records; its interval and its paired differences
            (`metric.low/choice`, `metric.less_<second>/choice`) go with it. The second may be a number, such as what
            chance gives.
        says, unit, counts: as in `Claim`.
    """

    def of(method: str, value: str | float) -> Row:
        if not isinstance(value, str):
            same = {metric: float(value)}
            return replace(row, method=method, mean=same, records=[{**each, "values": same} for each in row.records])
        name, _, choice = value.partition("/")
        names = {metric: value}
        for other in row.mean:
            start, _, end = other.partition("/")
            if end == choice and start.startswith(f"{name}."):
                names[named(metric, start.removeprefix(f"{name}."))] = other
        return renamed(row, names, method)

    return Claim(metric, (first[0], second[0]), (of(*first), of(*second)), says, unit, counts)


# A page


def judge(
    comparisons: Iterable[Comparison],
    claims: Iterable[Claim],
    comparable: bool = True,
    counts: Callable[[Comparison], bool] = lambda comparison: True,
) -> Verdict:
    """The verdict of a table or figure.

    Args:
        comparisons: of the paper's numbers.
        claims: of the paper.
        comparable: False where data, weights or training are too far from the paper's to bear on it.
        counts: which comparisons count, where some are of settings that the paper does not speak of.

    Rows of which the paper says nothing, such as those of the embedded data alone, are not comparable; nor are claims
    on one run each.
    """
    found = [comparison.verdict for comparison in comparisons if comparison.row is None or counts(comparison)]
    rulings = [claim.verdict for claim in claims if claim.counts]
    measured = [each for each in (*found, *rulings) if each not in ("not run", "one run")]
    if not comparable or not (found or rulings):
        return "not comparable"
    if not measured:
        return "not comparable" if "one run" in rulings else "not run"
    return "reproduced" if all(each in ("agrees", "holds") for each in measured) else "not reproduced"
