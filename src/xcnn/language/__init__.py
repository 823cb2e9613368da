"""Saying it in words."""

from xcnn.language.describer import Claim, Describer, Description, describe_all
from xcnn.language.evidence import FilterEvidence
from xcnn.language.measured import MeasuredDescriber
from xcnn.language.openai import OpenAIDescriber
from xcnn.language.replay import ReplayDescriber
from xcnn.language.verify import PartMasks, Verdict, verify

__all__ = [
    "Claim",
    "Describer",
    "Description",
    "FilterEvidence",
    "MeasuredDescriber",
    "OpenAIDescriber",
    "PartMasks",
    "ReplayDescriber",
    "Verdict",
    "describe_all",
    "verify",
]
