"""Cells, records, verdicts, pages, W&B: from a measurement to a committed result, whatever the subject."""

from xcnn.report.cells import Cell, Measured
from xcnn.report.page import Column, Summary
from xcnn.report.publish import publish
from xcnn.report.tables import PaperNumber, Row, aggregate
from xcnn.report.verdicts import Claim, Comparison, claim, compare

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
    "claim",
    "compare",
    "publish",
]
