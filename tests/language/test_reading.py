"""What is found in a language model's words."""

import pytest

from xcnn.language import Claim
from xcnn.language.reading import read_claims, read_structured

CLASSES = ("airplane", "automobile", "bird", "ship")


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        ("The filter responds to the bird's head and beak.", [("class", "bird"), ("part", "head"), ("part", "beak")]),
        ("Wheels of two cars, in gray.", [("part", "wheel"), ("class", "automobile"), ("colour", "grey")]),
        ("The upper-left corner; then the bottom.", [("position", "top left")]),
        ("A region in the lower center.", [("position", "bottom")]),
        ("The left side is blue.", [("position", "left"), ("colour", "blue")]),
        ("What is left of it, right away.", []),
        ("Near the middle.", [("position", "centre")]),
        ("There is no red here, and not a single wing.", []),
        ("A boat without a mast", [("class", "ship")]),
        ("RED and red and Red", [("colour", "red")]),
        ("A reddened birdcage", []),
        ("", []),
    ],
)
def test_words_and_what_they_claim(text: str, claims: list[tuple[str, str]]) -> None:
    assert read_claims(text, CLASSES) == tuple(Claim(kind, value) for kind, value in claims)


def test_a_name_that_is_a_class_and_a_part_is_the_class() -> None:
    assert read_claims("A face.", ("face",)) == (Claim("class", "face"),)
    assert read_claims("A face.", CLASSES) == (Claim("part", "face"),)
    assert read_claims("a boat", ("boat", "ship")) == (Claim("class", "boat"),)


@pytest.mark.parametrize(
    "reply", ["", "words", "{}", '{"description": "", "position": "", "colours": [], "objects": [], "parts": []}']
)
def test_what_is_no_structured_reply(reply: str) -> None:
    assert read_structured(reply, CLASSES) is None
