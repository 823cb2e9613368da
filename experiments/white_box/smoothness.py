"""White-box survey, sections 4.4 and 4.5: are integrated gradients and SmoothGrad smoother than the gradient?

Paper:      Ayyar et al. 2021, sections 4.4 and 4.5, after Sundararajan et al. 2017 and Smilkov et al. 2017.
Command:    make white-box-smoothness
Reports:    SmoothGrad reduces the visual noise of saliency maps, to smoother and sharper ones; integrated gradients
            average over images and so fluctuate less. No number.
Cost:       60 passes there and back of VGG-16 an image: ten minutes on a CPU core for the photographs, 2 GB.
Deviations: the survey gives no measure. Smoothness is the share of a map's variance in fine detail, sharpness that of
            its mass on the picture's edges. Integrated gradients, a signed sum over the channels, stand beside the
            gradient made into a map in the same way, times the input: absolute values are smoother than signed ones.
            VGG-16 with ImageNet convolutions on photographs of Imagenette, and the 3-conv network on drawn shapes.
            What noise in the image changes is measured in figure 7.
"""

from collections.abc import Sequence

from experiments.white_box.map_figures import Says, measure_maps, summary_of_maps
from xcnn.launch import launch
from xcnn.report import PaperNumber, Row, Summary


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    says: list[Says] = [("fine_detail", "smooth_grad", "gradient", "lower"),
            ("edge_share", "smooth_grad", "gradient", "higher"),
            ("fine_detail", "integrated_gradients", "input_x_gradient", "lower")]  # fmt: skip
    return summary_of_maps("White-box survey: are averaged gradients smoother?", rows, says)


if __name__ == "__main__":
    launch(__file__, measure_maps, summarise)
