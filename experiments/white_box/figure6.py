"""White-box survey, figure 6: heat maps of gradient backpropagation and guided backpropagation.

Paper:      Ayyar et al. 2021, sections 4.2 and 4.3 and figure 6.
Command:    make white-box-figure6
Reports:    heat maps of one photograph; guidance is said to leave fewer pixels with a high importance score, and so a
            slightly sharper visualisation.
Cost:       two passes there and back of VGG-16 an image: 2 minutes on a CPU core for the photographs, 2 GB.
Deviations: the survey's network is a ResNet-34 on photographs of Mexican buildings; here VGG-16 with ImageNet
            convolutions on photographs of Imagenette, and the 3-conv network on drawn shapes. Sharpness is measured by
            us: the share of bright pixels, and of a map's mass on the picture's edges.
"""

from collections.abc import Sequence

from experiments.white_box.map_figures import Says, measure_maps, summary_of_maps
from xcnn.launch import launch
from xcnn.report import PaperNumber, Row, Summary


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    says: list[Says] = [("share_above", "guided_backprop", "gradient", "lower"),
            ("edge_share", "guided_backprop", "gradient", "higher")]  # fmt: skip
    return summary_of_maps("White-box survey, figure 6: gradient and guided backpropagation", rows, says)


if __name__ == "__main__":
    launch(__file__, measure_maps, summarise)
