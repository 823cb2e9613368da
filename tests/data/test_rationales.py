"""Facts of drawn shapes, sentences about them, and what is held out of the training."""

import pytest
import torch

from xcnn.colour import BASIC_TERMS
from xcnn.data import PARTS, Labelled, Rationales, Shapes, ShapesPresence
from xcnn.data.rationales import (
    ABSENT,
    COLOUR,
    COLUMNS,
    LONGEST,
    PLACE,
    PLACES,
    PRESENCE,
    UNSAID,
    VOCABULARY,
    class_names,
    drawn_rationales,
    facts_of,
    held_out_pairs,
    holds,
    sentence,
    shuffled,
    tokens,
    whole_rationales,
)
from xcnn.data.shapes import CLASSES
from xcnn.errors import UserError
from xcnn.language.measured import POSITIONS

ROOF, DOOR = PARTS.index("roof"), PARTS.index("door")


@pytest.fixture(scope="module")
def data() -> Rationales:
    found = Rationales(Shapes(n_train=200, n_test=100))
    found.setup()
    return found


@pytest.fixture
def facts() -> torch.Tensor:
    """A house whose roof is red and at the upper left, with one pixel of a door and nothing else, (1, COLUMNS)."""
    images, parts = torch.full((1, 3, 9, 9), 255, dtype=torch.uint8), torch.zeros(1, 9, 9, dtype=torch.uint8)
    parts[0, :2, 1:3] = ROOF + 1
    images[0, 1:, :2, 1:3] = 0
    parts[0, 8, 8] = DOOR + 1
    return facts_of(Labelled(images, torch.tensor([0]), {"parts": parts}))


def test_the_facts_of_an_image(facts: torch.Tensor) -> None:
    expected = torch.full((1, COLUMNS), ABSENT)
    expected[0, 0] = CLASSES.index("house")
    expected[0, PRESENCE] = 0
    expected[0, PRESENCE.start + ROOF] = 1
    expected[0, COLOUR.start + ROOF] = BASIC_TERMS.index("red")
    expected[0, PLACE.start + ROOF] = PLACES.index("top left")
    assert torch.equal(facts, expected)
    assert PLACES == POSITIONS  # as the describers name them


def test_sentences(facts: torch.Tensor) -> None:
    said = whole_rationales(facts)[0]
    assert sentence(said) == "a house with a red roof at the top left"
    said[[0, PLACE.start + ROOF]] = UNSAID
    assert sentence(said) == "an object with a red roof"
    said[COLOUR.start + ROOF] = BASIC_TERMS.index("orange")
    said[PLACE.start + ROOF] = PLACES.index("centre")
    said[PRESENCE.start + DOOR] = 1
    assert sentence(said) == "an object with an orange roof in the centre and a door"
    assert sentence(class_names(torch.tensor([1]))[0]) == "a fir"


def test_a_sentence_is_true_where_it_agrees_with_what_it_speaks_of(facts: torch.Tensor) -> None:
    other = facts.clone()
    other[0, COLOUR.start + ROOF] = BASIC_TERMS.index("blue")
    said = torch.cat([whole_rationales(facts), class_names(facts[:, 0]), class_names(facts[:, 0] + 1)])
    assert holds(said, torch.cat([facts, other])).tolist() == [[True, True, False], [False, True, False]]
    absent = class_names(facts[:, 0])
    absent[0, PRESENCE.start + DOOR] = 1
    absent[0, COLOUR.start + DOOR] = 0
    assert not holds(absent, facts).any()


def test_drawn_sentences_are_true_and_say_something(data: Rationales) -> None:
    torch.manual_seed(0)
    facts = data.train.labels
    said = drawn_rationales(facts)
    assert holds(said, facts).diagonal().all()
    assert ((said != UNSAID).sum(1) > 0).all()
    alone = ((said != UNSAID).sum(1) == 1) & (said[:, 0] != UNSAID)
    assert 0.15 < alone.double().mean() < 0.4 and (said[:, 0] == UNSAID).any()
    whole = [sentence(row) for row in whole_rationales(facts)]
    assert max(len(text.split()) for text in whole) <= LONGEST
    read = tokens(whole)
    assert [" ".join(VOCABULARY[index] for index in row if index) for row in read.tolist()] == whole


def test_no_held_out_pair_is_trained_on_and_each_part_and_colour_is(data: Rationales) -> None:
    train, test = data.train.labels, data.test.labels
    assert not held_out_pairs(train).any() and held_out_pairs(test).any()
    whole = facts_of(data.source.train)
    removed = held_out_pairs(whole).any(1)
    assert 0.2 < removed.double().mean() < 0.7 and torch.equal(whole[~removed], train)
    assert torch.equal(data.train.images, data.source.train.images[~removed])
    there = whole[:, PRESENCE].any(0)
    assert torch.equal(there, train[:, PRESENCE].any(0))
    pairs = held_out_pairs(test).sum() / (test[:, COLOUR] >= 0).sum()
    assert 0.1 < pairs < 0.35


def test_shuffled_facts_are_of_another_image_of_the_class(data: Rationales) -> None:
    other = Rationales(data.source, shuffled=True)
    other.setup()
    own, changed = data.train.labels, other.train.labels
    assert torch.equal(own[:, 0], changed[:, 0]) and torch.equal(data.test.labels, other.test.labels)
    assert sorted(own.tolist()) == sorted(changed.tolist())
    marked = torch.stack([torch.arange(20) % 2, torch.arange(20)], 1)
    moved = shuffled(marked, 0)
    assert (moved[:, 1] != marked[:, 1]).all() and (moved[:, 0] == marked[:, 0]).all()
    assert torch.equal(moved, shuffled(marked, 0)) and not torch.equal(moved, shuffled(marked, 1))


def test_what_cannot_be_read_is_refused() -> None:
    with pytest.raises(UserError, match=r"no word of a rationale: lorry\. Known are: a an and"):
        tokens(["a lorry"])
    with pytest.raises(UserError, match="a sentence has 30 words, and at most 29"):
        tokens(["a " * 30])
    with pytest.raises(UserError, match="has no rationales: they are generated for data=shapes"):
        Rationales(ShapesPresence(n_train=20, n_test=20))
