"""Pixel Ablation-CAM, section 4.3 in numbers: maps against ground-truth boxes, insertion, deletion and ROAD.

Paper:      Samanta et al. 2025, figure 4 and the text around it.
Command:    make pixel-ablation-cam-localisation
Reports:    pictures, and the claim that Pixel Ablation-CAM follows the boxes more closely than Grad-CAM.
Cost:       a pass of ResNet-50 a picture and method, and 42 for a fiftieth of the pictures: 39 minutes for 10 methods
            and 1,000 pictures on one core of a busy CPU (bfloat16), 2 GB.
Deviations: the paper measures nothing here; the metrics are the field's own. Insertion, deletion and ROAD, which it
            does not use, on a share of the pictures chosen by their ids.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from xcnn.evaluation.localisation import Perturbation, localisation_summary, measure_localisation, pool_localisation
from xcnn.launch import Setup, launch
from xcnn.report import Cell, Measured, PaperNumber, Row, Summary


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    subject = setup.explained()
    return measure_localisation(
        cell,
        subject,
        setup.attribution(subject),
        list(options.keeps),
        Perturbation(options.perturbation.share, options.perturbation.steps, options.perturbed_batch),
        options.chunk,
    )


def pool(rows: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, float]]:
    return pool_localisation(rows, reference="grad_cam")


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    return localisation_summary("localisation", "Pixel Ablation-CAM: localisation on ImageNet val", rows)


if __name__ == "__main__":
    launch(__file__, measure, summarise, pool=pool)
