"""Pixel Ablation-CAM, table 1: how much of ResNet-50's output is left when only what a map marks is shown.

Paper:      Samanta et al. 2025, table 1 and section 4.2.
Command:    make pixel-ablation-cam-table1
Reports:    average drop and increase of confidence and activation; Pixel Ablation-CAM 32.64 % drop of confidence,
            against 47.03 % (Grad-CAM) and 46.85 % (Ablation-CAM).
Cost:       7 passes of ResNet-50 a picture and method: 72 minutes for 10 methods and 1,000 pictures on two busy CPU
            cores, 2 GB. All 50,000 as shards on GPUs: `LAUNCHER=slurm ARGS="trainer=gpu data.shards=16
            data.shard=range(16)"`.
Deviations: what is kept and what stands in place of the rest is not said well enough to fix the number: the six
            protocols of `xcnn.metrics.faithfulness` are all run. Eq. 5 is resolved in three ways. The first 1,000
            validation images, where not all are at hand. The committed rows are of product-quantised ResNet-50 weights
            (uber-research, permute-quantize-finetune; BatchNorm folded; 70.8 % top-1 on these images), which are a
            little more brittle under masking than torchvision's; the weights are named by their hash.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from experiments.pixel_ablation_cam.faithfulness import faithfulness_summary
from xcnn.evaluation.faithfulness import NAMED, measure_faithfulness, pool_faithfulness
from xcnn.launch import Setup, launch
from xcnn.metrics.faithfulness import protocols
from xcnn.report import Cell, Measured, PaperNumber, Row, Summary


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    subject = setup.explained()
    return measure_faithfulness(cell, subject, setup.attribution(subject), protocols(options.fraction), options.chunk)


def pool(rows: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, float]]:
    return pool_faithfulness(rows, compared=NAMED, reference="grad_cam")


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    return faithfulness_summary("table1", "Pixel Ablation-CAM, table 1: ResNet-50 on ImageNet val", rows, paper)


if __name__ == "__main__":
    launch(__file__, measure, summarise, pool=pool)
