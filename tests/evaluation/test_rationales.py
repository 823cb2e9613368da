"""The tests of a dual encoder, on encoders whose results are known: one that knows all, one that binds nothing."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import xcnn.evaluation.rationales as measured
from xcnn.data import Rationales, Shapes
from xcnn.data.rationales import COLOUR, COLUMNS, UNSAID, held_out_pairs, sentence, whole_rationales
from xcnn.data.shapes import CLASSES
from xcnn.evaluation.rationales import gains, majority, outcomes, swapped, with_intervals

VALUES = max(len(CLASSES), 11)


@pytest.fixture(scope="module")
def subject() -> Any:
    data = Rationales(Shapes(n_train=100, n_test=80))
    data.setup()
    return SimpleNamespace(data=data, batch=50)


def bound(said: Tensor) -> Tensor:
    """One place for each value of each column, at length 1."""
    vectors = torch.nn.functional.one_hot(said.clamp(min=0), VALUES) * (said != UNSAID)[..., None]
    return torch.nn.functional.normalize(vectors.flatten(1).double(), dim=1)


def bag(said: Tensor) -> Tensor:
    """The same without telling whose a colour is."""
    vectors = bound(said).unflatten(1, (COLUMNS, VALUES))
    vectors[:, COLOUR] = vectors[:, COLOUR].sum(1, keepdim=True)
    return torch.nn.functional.normalize(vectors.flatten(1), dim=1)


def nothing(said: Tensor) -> Tensor:
    return torch.ones(len(said), 1, dtype=torch.float64)


@pytest.fixture
def known(subject: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Tensor], Tensor]], Any]:
    def measure(encode: Callable[[Tensor], Tensor]) -> Any:
        whole = encode(whole_rationales(subject.data.test.labels))
        monkeypatch.setattr(measured, "_encoded_images", lambda subject, images: whole)
        monkeypatch.setattr(measured, "_encoded_texts", lambda subject, said: encode(said))
        return outcomes(subject, 20)

    return measure


def test_who_knows_all_is_right_in_every_test(known: Any) -> None:
    found = known(bound)
    assert {name for name in found if not name.startswith("by_class")} >= {"accuracy/unseen", "colour/unseen", "place"}
    assert all(each.mean() == 1 for name, each in found.items() if not name.startswith("by_class"))
    assert 0.2 < found["by_class/seen"].mean() < 0.9  # some two of the 20 are of a class
    assert len(found["texts_at_1/unseen"]) == len(found["images_at_5/seen"]) == 20


def test_who_cannot_tell_which_part_has_which_colour_is_at_chance_where_they_are_exchanged(known: Any) -> None:
    found = known(bag)
    assert (found["swap_colours"] == 0.5).all() and (found["swap_places"] == 1).all()
    assert found["accuracy/seen"].mean() == 1


def test_who_knows_nothing_is_at_chance(known: Any) -> None:
    found = known(nothing)
    assert (found["swap_colours"] == 0.5).all() and (found["swap_places"] == 0.5).all()
    assert found["accuracy/seen"].mean() < 0.4 and found["texts_at_1/seen"].mean() < 0.3


def test_exchanged_rationales(subject: Any) -> None:
    facts = subject.data.test.labels
    rows, said = swapped(facts, COLOUR)
    whole = whole_rationales(facts)[rows]
    changed = said != whole
    assert (changed.sum(1) == 2).all() and changed[:, COLOUR].sum() == changed.sum()
    assert torch.equal(said.sort(1).values, whole.sort(1).values)
    assert sentence(said[0]) != sentence(whole[0])
    alone = facts[:1].clone()
    alone[:, COLOUR] = torch.where(alone[:, COLOUR] >= 0, 4, alone[:, COLOUR])
    assert len(swapped(alone, COLOUR)[0]) == 0


def test_the_majority_of_a_part(subject: Any) -> None:
    facts = subject.data.test.labels
    found = majority(facts, facts)
    assert 0.2 < found["colour_majority/seen"] < 0.9 and 0.2 < found["place_majority"] < 1
    one = facts[~held_out_pairs(facts).any(1)][:1]
    assert majority(one, one)["colour_majority/seen"] == majority(one, one)["place_majority"] == 1


def test_values_have_their_intervals_and_gains_are_paired() -> None:
    ours, other = {"a/seen": np.array([1.0, 1, 0, 1])}, {"a/seen": np.array([0.0, 1, 0, 1])}
    values = with_intervals(ours)
    assert values["a/seen"] == 0.75 and values["a.n/seen"] == 4 and values["a.low/seen"] < 0.75 < values["a.high/seen"]
    gained = gains(ours, other, "x")
    assert gained["a.over_x/seen"] == 0.25 and gained["a.over_x_low/seen"] == 0
    assert gained["a.over_x_high/seen"] == 0.75
