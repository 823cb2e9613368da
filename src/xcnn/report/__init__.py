"""Cells, records, verdicts, pages, W&B: from a measurement to a committed result, whatever the subject."""

from xcnn.report.cells import Cell, Measured
from xcnn.report.page import Column, Summary
from xcnn.report.publish import publish
from xcnn.report.tables import PaperNumber, Row, aggregate, by_network, named, renamed
from xcnn.report.verdicts import Claim, Comparison, claim, claim_within, compare

__all__ = [
    "Cell",
    "Claim",
    "Column",
    "Comparison",
    "Measured",
    "PaperNumber",
    "Row",
    "Summary",
    "aggregate",
    "by_network",
    "claim",
    "claim_within",
    "compare",
    "named",
    "publish",
    "renamed",
]
