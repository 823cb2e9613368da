"""Pixel Ablation-CAM, section 4.3 in numbers: maps against ground-truth boxes, insertion, deletion and ROAD.

Paper:      Samanta et al. 2025, figure 4 and the text around it.
Command:    make pixel-ablation-cam-localisation
Reports:    explanation maps, and the claim that Pixel Ablation-CAM follows the boxes more closely than Grad-CAM.
Cost:       a pass of ResNet-50 an image and method, and 42 for an eighth of the images: about two hours for 10 methods
            and 1,000 images on two CPU cores (float32), 2 GB.
Deviations: the paper measures nothing here; the metrics are the field's own. Insertion, deletion and ROAD, which it
            does not use, on a share of the images chosen by their ids. The committed records have the product-quantised
            ResNet-50 of table 1.
"""

from collections.abc import Mapping

import pandas as pd

from experiments.pixel_ablation_cam.localisation_page import summarise
from xcnn.evaluation.localisation import Perturbation, measure_localisation, pool_localisation
from xcnn.launch import Setup, launch
from xcnn.report import Cell, Measured


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
    return pool_localisation(rows, references=["grad_cam"])


if __name__ == "__main__":
    launch(__file__, measure, summarise, pool=pool)
