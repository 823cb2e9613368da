"""Pixel Ablation-CAM, table 1: how much of ResNet-50's output is left when only what a map marks is shown.

Paper:      Samanta et al. 2025, table 1 and section 4.2.
Command:    make pixel-ablation-cam-table1
Reports:    average drop and increase of confidence and activation; Pixel Ablation-CAM 32.64 % drop of confidence,
            against 47.03 % (Grad-CAM) and 46.85 % (Ablation-CAM).
Cost:       7 passes of ResNet-50 an image and method: 72 minutes for 10 methods and 1,000 images on two busy CPU
            cores, 2 GB. All 50,000 as shards on GPUs: `LAUNCHER=slurm ARGS="trainer=gpu data.shards=16
            data.shard=range(16)"`.
Deviations: what is kept and what stands in place of the rest is not said well enough to fix the number: the six
            protocols of `xcnn.metrics.faithfulness` are all run. Eq. 5 is resolved in three ways. The first 1,000
            validation images, where not all are at hand. The committed records have a product-quantised ResNet-50
            (uber-research, permute-quantize-finetune; BatchNorm folded; 70.8 % top-1 on these images), a little more
            brittle under masking than torchvision's.
"""

from collections.abc import Sequence

from experiments.pixel_ablation_cam.faithfulness import measure, pool
from experiments.pixel_ablation_cam.faithfulness_page import faithfulness_summary
from xcnn.launch import launch
from xcnn.report import PaperNumber, Row, Summary


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    title = "Pixel Ablation-CAM, table 1: ResNet-50 on ImageNet val"
    return faithfulness_summary("table1", title, rows, paper, keep_rows=True)


if __name__ == "__main__":
    launch(__file__, measure, summarise, pool=pool)
