"""How tables 1 and 2 are measured: one method under all protocols, then all methods on the same images."""

from collections.abc import Mapping

import pandas as pd

from experiments.pixel_ablation_cam.comparisons import NAMED
from experiments.pixel_ablation_cam.faithfulness_page import OTHERS
from xcnn.evaluation.faithfulness import measure_faithfulness, pool_faithfulness
from xcnn.launch import Setup
from xcnn.metrics.faithfulness import protocols
from xcnn.report import Cell, Measured


def measure(setup: Setup, cell: Cell) -> Measured:
    """A cell of either table: one method under all protocols."""
    options = setup.options
    subject = setup.explained()
    return measure_faithfulness(cell, subject, setup.attribution(subject), protocols(options.fraction), options.chunk)


def pool(rows: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, float]]:
    return pool_faithfulness(rows, compared=NAMED, references=OTHERS)
