"""Saying it in words."""

from xcnn.language.describer import Claim, Describer, Description
from xcnn.language.evidence import FilterEvidence
from xcnn.language.measured import MeasuredDescriber
from xcnn.language.verify import Verdict, verify

__all__ = ["Claim", "Describer", "Description", "FilterEvidence", "MeasuredDescriber", "Verdict", "verify"]
