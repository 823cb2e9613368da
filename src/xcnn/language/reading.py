"""What a language model's words claim: read from a structured reply, or found in a text."""

import re
from collections.abc import Iterator, Mapping, Sequence

from pydantic import BaseModel, ConfigDict, ValidationError

from xcnn.colour import BASIC_TERMS
from xcnn.data.shapes import PARTS
from xcnn.language.describer import Claim
from xcnn.language.measured import POSITIONS

# The parts of `shapes`, and those that the paper's texts name.
PART_WORDS = (
    *PARTS,
    *("beak", "wing", "face", "leg", "hood", "bumper", "grille", "roofline", "window", "windshield"),
    *("headlight", "door", "horn", "antler", "ear", "nose", "neck", "fur", "feather", "propeller", "deck"),
)
_OTHER_WORDS = {
    **{"gray": "grey", "golden": "yellow", "beige": "brown", "whitish": "white", "reddish": "red"},
    **{"car": "automobile", "plane": "airplane", "aeroplane": "airplane", "aircraft": "airplane", "lorry": "truck"},
    **{"boat": "ship", "vessel": "ship", "tyre": "wheel", "tire": "wheel", "tree": "fir"},
}
_VERTICAL = {"top": "top", "upper": "top", "bottom": "bottom", "lower": "bottom"}
_CENTRE = r"(?:centre|center|middle|central)"
_PLACES = re.compile(
    rf"\b(?:(?P<vertical>top|upper|bottom|lower)(?:[ -](?:the )?(?P<horizontal>left|right|{_CENTRE}))?"
    rf"|(?P<side>left|right)(?= (?:side|half|part|edge|of the image|of the picture|corner))|(?P<centre>{_CENTRE}))\b"
)
_DENIED = re.compile(r"\b(?:no|not|without|nor|never)(?: \w+)?(?: \w+)? $")


class StructuredReply(BaseModel):
    """The schema that a server is asked to keep to, where it can."""

    model_config = ConfigDict(extra="forbid")

    description: str
    position: str
    colours: list[str]
    objects: list[str]
    parts: list[str]


def read_structured(reply: str, classes: Sequence[str]) -> tuple[str, tuple[Claim, ...]] | None:
    """The words and the claims of a structured reply; None if it is none, or has no words."""
    try:
        found = StructuredReply.model_validate_json(reply)
    except ValidationError:
        return None
    if not found.description.strip():
        return None
    named = " ".join(f"{word}." for word in (*found.colours, *found.objects, *found.parts))
    return found.description.strip(), read_claims(f"{found.position}. {named}", classes)


def read_claims(text: str, classes: Sequence[str]) -> tuple[Claim, ...]:
    """The places, colours, classes and parts that a text names, each once, unless it denies them.

    Of several places the first counts. A word in the plural, and some other words for the same (`car`, `gray`,
    `upper`), count as the word itself. A name that is a class and a part is taken for the class.
    """
    text = " ".join(text.lower().split())
    kinds = {
        **dict.fromkeys(PART_WORDS, "part"),
        **dict.fromkeys(BASIC_TERMS, "colour"),
        **{name.lower(): "class" for name in classes},
    }
    spelled = {name.lower(): name for name in classes}
    places = [place for place in map(_place, _affirmed(_PLACES.finditer(text), text)) if place]
    claims = [Claim("position", places[0])] if places else []
    for match in _affirmed(_words(kinds).finditer(text), text):
        word = match["word"]
        word = word if word in kinds else _OTHER_WORDS[word]
        claims.append(Claim(kinds[word], spelled.get(word, word)))
    return tuple(dict.fromkeys(claims))


def _words(kinds: Mapping[str, str]) -> re.Pattern[str]:
    others = [word for word, same in _OTHER_WORDS.items() if same in kinds and word not in kinds]
    names = sorted((*kinds, *others), key=len, reverse=True)
    return re.compile(rf"\b(?P<word>{'|'.join(map(re.escape, names))})(?:s|es)?\b")


def _affirmed(matches: Iterator[re.Match[str]], text: str) -> Iterator[re.Match[str]]:
    return (match for match in matches if not _DENIED.search(text[: match.start()]))


def _place(match: re.Match[str]) -> str | None:
    vertical, horizontal = _VERTICAL.get(match["vertical"] or ""), match["horizontal"]
    if vertical:
        place = vertical if horizontal not in ("left", "right") else f"{vertical} {horizontal}"
    else:
        place = match["side"] or "centre"
    return place if place in POSITIONS else None
