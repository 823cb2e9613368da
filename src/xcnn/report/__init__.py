"""Cells, rows, tables, provenance, W&B: from a measurement to a committed result."""

from xcnn.report.cells import Cell, Measured
from xcnn.report.publish import Column, Summary, publish
from xcnn.report.tables import PaperNumber, Row, aggregate, compare

__all__ = ["Cell", "Column", "Measured", "PaperNumber", "Row", "Summary", "aggregate", "compare", "publish"]
