"""How far two rankings of the same filters agree."""

from dataclasses import replace

import pytest

from tests.report.test_tables import record
from xcnn.evaluation.importance import agreement
from xcnn.report import Row, aggregate


def ranking(method: str, by_seed: dict[int, list[float]]) -> Row:
    records = [record(method, seed, lost=0.1) | {"details": {"importance": each}} for seed, each in by_seed.items()]
    return aggregate(records)[0]


def test_taus_are_of_the_seeds_that_both_have() -> None:
    one = ranking("ablation", {0: [3, 2, 1, 0], 1: [0, 1, 2, 3], 2: [3, 2, 1, 0]})
    other = ranking("score", {0: [4, 3, 2, 1], 1: [1, 0, 3, 2], 5: [1, 2, 3, 4]})
    found = agreement(one, other)
    assert found["one"] is one and found["other"] is other
    assert found["tau"] == pytest.approx((1 + 1 / 3) / 2)  # four of six pairs in order, two not
    assert found["interval"].n == 2 and found["interval"].value == pytest.approx(2 / 3)
    single = agreement(one, replace(other, records=other.records[:1]))
    assert (single["tau"], single["interval"]) == (1, None)
    assert agreement(one, replace(other, records=[]))["tau"] is None
