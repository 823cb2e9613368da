"""The reverse walk of a traced network under rules for each operation, and the composites that name them."""

from xcnn.attribution.backward.calls import Call
from xcnn.attribution.backward.composites import COMPOSITES, Choice, Composite, read_composite
from xcnn.attribution.backward.rules import RULES, rule
from xcnn.attribution.backward.walk import Recorded, Relevance, Values, Walk

__all__ = [
    "COMPOSITES",
    "RULES",
    "Call",
    "Choice",
    "Composite",
    "Recorded",
    "Relevance",
    "Values",
    "Walk",
    "read_composite",
    "rule",
]
