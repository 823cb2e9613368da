"""Pixel Ablation-CAM, section 4.1.1: why a fifth of the pixels, and not more or fewer.

Paper:      Samanta et al. 2025, section 4.1.1.
Command:    make pixel-ablation-cam-fractions
Reports:    that "the top 20% of pixels from the localisation map should be kept", by "empirical testing" of which it
            prints nothing.
Cost:       8 passes of ResNet-50 an image and method: 15 minutes for 6 methods and 300 images on two CPU cores
            (float32), 2 GB.
Deviations: the paper does not say by what a share is judged. Measured is what table 1 measures, with black around what
            is kept, for seven shares. Networks and images are those of our table 1.
"""

from collections.abc import Mapping

import pandas as pd

from experiments.pixel_ablation_cam.comparisons import NAMED
from experiments.pixel_ablation_cam.fractions_page import FILL, summarise
from xcnn.evaluation.faithfulness import measure_faithfulness, pool_faithfulness
from xcnn.launch import Setup, launch
from xcnn.metrics.faithfulness import Protocol
from xcnn.report import Cell, Measured


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    subject = setup.explained()
    kept = [Protocol("top_fraction", FILL, share, f"{share:.0%}") for share in options.fractions]
    return measure_faithfulness(cell, subject, setup.attribution(subject), kept, options.chunk)


def pool(rows: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, float]]:
    return pool_faithfulness(rows, compared=NAMED, references=("random", "grad_cam"))


if __name__ == "__main__":
    launch(__file__, measure, summarise, pool=pool)
