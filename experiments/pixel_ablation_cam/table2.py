"""Pixel Ablation-CAM, table 2: how much of VGG-16's output is left when only what a map marks is shown.

Paper:      Samanta et al. 2025, table 2 and section 4.2.
Command:    make pixel-ablation-cam-table2
Reports:    average drop and increase of confidence and activation; Pixel Ablation-CAM 33.43 % drop of confidence,
            against 49.09 % (Grad-CAM) and 46.99 % (Ablation-CAM).
Cost:       on the animals, 7 passes of VGG-16 at 64 px an image and method: 10 minutes for 10 methods and 480 images
            on one core of a busy CPU (bfloat16), after its training (make weights-vgg16-animals); on ImageNet four
            times table 1.
Deviations: as table 1. The ImageNet rows need torchvision's weights (make weights-vgg16) and are left out, and said to
            be, without them. Beside them stands a VGG-16 with BatchNorm that this repository trains on 48 animal
            classes of Tiny ImageNet: another problem, whose numbers are not the paper's; its input is 64 px and its
            maps are 4 x 4.
"""

from collections.abc import Sequence

from experiments.pixel_ablation_cam.faithfulness import measure, pool
from experiments.pixel_ablation_cam.faithfulness_page import faithfulness_summary
from xcnn.launch import launch
from xcnn.report import PaperNumber, Row, Summary


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    comparable = any((row.dataset, row.model) == ("imagenet", "vgg16") for row in rows)
    title, order = "Pixel Ablation-CAM, table 2: VGG-16", ("vgg16", "vgg16_imagenette", "vgg16_imagenette_conv")
    return faithfulness_summary("table2", title, rows, paper, order, comparable=comparable)


if __name__ == "__main__":
    launch(__file__, measure, summarise, pool=pool)
