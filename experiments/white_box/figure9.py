"""White-box survey, figure 9: heat maps of three rules of LRP, and of FEM.

Paper:      Ayyar et al. 2021, sections 5.1 and 5.4 and figure 9.
Command:    make white-box-figure9
Reports:    heat maps of one photograph of a tiger with VGG-16: LRP-epsilon marks most of the input's pixels, without
            biases only a smaller region; alpha1-beta0 only contours; FEM is more holistic; LRP's maps are sparse.
Cost:       nine passes of VGG-16 an image: 7 minutes on a CPU core for the photographs, 2 GB.
Deviations: VGG-16 with ImageNet convolutions and our classifier for Imagenette, on photographs of Imagenette; its
            biases are not those of torchvision's classifier. The words are measured by us (see the definitions).
"""

from collections.abc import Sequence

from experiments.white_box.map_figures import Says, measure_maps, summary_of_maps
from xcnn.launch import launch
from xcnn.report import PaperNumber, Row, Summary


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    says: list[Says] = [
        ("gini", "lrp_epsilon_no_bias", "lrp_epsilon", "higher"),
        ("extent", "lrp_epsilon_no_bias", "lrp_epsilon", "lower"),
        ("edge_share", "lrp_alpha1_beta0", "lrp_epsilon", "higher"),
        ("fine_detail", "fem", "lrp_alpha1_beta0", "lower"),
        ("gini", "lrp_epsilon", "fem", "higher"),
    ]
    return summary_of_maps("White-box survey, figure 9: LRP and FEM", rows, says)


if __name__ == "__main__":
    launch(__file__, measure_maps, summarise)
