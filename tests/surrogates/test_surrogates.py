"""Trees, rules and sparse linear models on decisions that one of their kind made."""

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine

from tests.surrogates.networks import Known, images
from xcnn.errors import UserError
from xcnn.surrogates import LastFeatures, Rule, RuleSurrogate, SparseLinearSurrogate, Surrogate, TreeSurrogate

MAKES = (TreeSurrogate, RuleSurrogate, SparseLinearSurrogate)
generator = np.random.default_rng(0)
ROWS = generator.random((400, 4), np.float32)
NAMES, CLASSES = ("a", "b", "c", "d"), ("low", "middle", "high")
STEPS = np.select([ROWS[:, 1] <= 0.3, ROWS[:, 3] <= 0.6], [0, 1], 2)  # a tree of three leaves, or two rules


def test_a_tree_finds_the_tree_that_decided() -> None:
    found = TreeSurrogate(max_leaves=3).fit_rows(ROWS, STEPS, NAMES, CLASSES)
    assert found.size == 3 and np.array_equal(found.predict_rows(ROWS), STEPS)
    row = np.array([0.5, 0.9, 0.5, 0.2])
    reasoning = found.explain_row(row)
    assert reasoning.predicted == 1
    (b, d) = sorted(reasoning.reasons, key=lambda reason: reason.name)
    assert (b.name, d.name) == ("b", "d") and (b.value, d.value) == pytest.approx((0.9, 0.2))
    assert b.low == pytest.approx(0.3, abs=0.02) and b.high == np.inf
    assert d.high == pytest.approx(0.6, abs=0.02) and d.low == -np.inf
    assert str(d) == f"d <= {d.high:.3g}"
    assert "|--- b <= 0.3" in found.text() and "class: middle" in found.text()


def test_a_path_that_asks_twice_of_a_column_gives_one_interval() -> None:
    inside = ((ROWS[:, 0] > 0.4) & (ROWS[:, 0] <= 0.7)).astype(int)
    found = TreeSurrogate(max_leaves=3).fit_rows(ROWS, inside, NAMES)
    (reason,) = found.explain_row([0.5, 0, 0, 0]).reasons
    assert (reason.low, reason.high) == pytest.approx((0.4, 0.7), abs=0.02)
    assert str(reason) == f"{reason.low:.3g} < a <= {reason.high:.3g}"


def test_rules_find_the_list_that_decided() -> None:
    found = RuleSurrogate(max_rules=4, max_conditions=1).fit_rows(ROWS, STEPS, NAMES, CLASSES)
    assert found.size == 2 and np.array_equal(found.predict_rows(ROWS), STEPS)
    first, last, rest = found.text().splitlines()
    assert first.startswith(("if b <= 0.3", "if b <= 0.29")) and first.endswith(
        f"low ({(STEPS == 0).sum()} of {(STEPS == 0).sum()})"
    )
    assert last.startswith("else if d ") and rest in ("else: high", "else: middle")
    assert found.explain_row([0, 0.1, 0, 0]).reasons[0].name == "b"


def test_a_rule_list_is_read_from_the_top() -> None:
    found = RuleSurrogate().fit_rows(ROWS, STEPS, NAMES, CLASSES)
    found.rules = [Rule({0: (0.5, np.inf)}, 2, 1, 1), Rule({0: (-np.inf, 0.8), 1: (0.25, 0.5)}, 1, 1, 1)]
    found.default = 0
    rows = [[0.6, 0.3, 0, 0], [0.5, 0.3, 0, 0], [0.5, 0.6, 0, 0], [0.4, 0.25, 0, 0]]
    assert found.predict_rows(rows).tolist() == [2, 1, 0, 0]
    assert found.explain_row(rows[2]).reasons == []
    assert [str(reason) for reason in found.explain_row(rows[1]).reasons] == ["a <= 0.8", "0.25 < b <= 0.5"]


def test_a_sparse_model_keeps_the_columns_that_decide() -> None:
    decided = (2 * ROWS[:, 2] - ROWS[:, 0] > 0.5).astype(int)
    found = SparseLinearSurrogate(strength=0.02).fit_rows(ROWS, decided, NAMES, ("no", "yes"))
    assert found.size == 2 and float((found.predict_rows(ROWS).numpy() == decided).mean()) > 0.9
    reasoning = found.explain_row([0.1, 0.5, 0.9, 0.5])
    assert reasoning.predicted == 1 and [reason.name for reason in reasoning.reasons] == ["c", "a"]
    total = sum(reason.contribution or 0 for reason in reasoning.reasons) + found.model.intercept_[0]
    assert total == pytest.approx(found.model.decision_function(found.scaler.transform([[0.1, 0.5, 0.9, 0.5]]))[0])
    assert str(reasoning.reasons[0]).startswith("c = 0.9 adds +")
    assert found.text().splitlines()[1].startswith("yes: ") and " b" not in found.text()


def test_more_strength_keeps_more_weights() -> None:
    sizes = [SparseLinearSurrogate(strength=c).fit_rows(ROWS, STEPS).size for c in (0.005, 0.05, 5)]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize("make", MAKES)
def test_a_surrogate_of_a_network(make: type[Surrogate]) -> None:
    subject, given = Known(), images(300)
    before = {name: value.clone() for name, value in subject.network.state_dict().items()}
    found = make(partial(LastFeatures, layer="features")).fit(subject, given)
    fresh = images(200, seed=1)
    agrees = (found.predict(fresh) == fresh[:, :, 0, 0].argmax(1)).double().mean()
    assert found.fidelity(fresh) == pytest.approx(float(agrees)) and agrees > 0.75
    assert found.explain(fresh[0]).predicted == int(found.predict(fresh[:1])[0])
    assert found.names == ("filter 0", "filter 1", "filter 2") and found.classes == ("red", "green", "blue")
    assert all(torch.equal(value, before[name]) for name, value in subject.network.state_dict().items())


@pytest.mark.parametrize("make", MAKES)
def test_rows_of_any_domain(make: type[Surrogate]) -> None:
    table = load_wine()
    train = np.arange(178) % 2 == 0
    found = make().fit_rows(table.data[train], table.target[train], table.feature_names, table.target_names)
    right = found.predict_rows(table.data[~train]).numpy() == table.target[~train]
    assert right.mean() > 0.8


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: TreeSurrogate(max_leaves=500), "400 images for 500 leaves: fit on more images, or allow fewer leaves"),
        (lambda: RuleSurrogate(max_rules=401), "400 images for 401 rules"),
    ],
)
def test_fewer_images_than_parts(make: "partial[Surrogate]", said: str) -> None:
    with pytest.raises(UserError, match=said):
        make().fit_rows(ROWS, STEPS)


@pytest.mark.parametrize("make", MAKES)
def test_refused(make: type[Surrogate]) -> None:
    with pytest.raises(UserError, match="one class: fit on images of several"):
        make().fit_rows(ROWS, np.zeros(400))
    with pytest.raises(UserError, match="400 rows and decisions"):
        make().fit_rows(ROWS, STEPS[:-1])
    with pytest.raises(UserError, match="NaN or infinity"):
        make().fit_rows(np.where(ROWS > 0.9, np.nan, ROWS), STEPS)
    with pytest.raises(UserError, match="not fitted yet"):
        make().predict_rows(ROWS)
    with pytest.raises(UserError, match="there is no view"):
        make().fit(Known(), images(4))
    with pytest.raises(UserError, match="not fitted on images yet"):
        make().fit_rows(ROWS, STEPS).predict(images(4))
    with pytest.raises(UserError, match="fitted on 4 columns, asked for 3"):
        make().fit_rows(ROWS, STEPS).predict_rows(ROWS[:, :3])


def test_refused_settings() -> None:
    for make, said in (
        (lambda: TreeSurrogate(max_leaves=1), "at least 2 leaves, not 1"),
        (lambda: RuleSurrogate(max_conditions=0), "are at least 1, not 16, 0 and 5"),
        (lambda: SparseLinearSurrogate(strength=0), "strength is above 0"),
    ):
        with pytest.raises(UserError, match=said):
            make()
