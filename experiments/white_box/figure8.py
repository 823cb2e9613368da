"""White-box survey, figure 8: heat maps of Grad-CAM and guided Grad-CAM.

Paper:      Ayyar et al. 2021, sections 4.6 and 4.6.1 and figure 8.
Command:    make white-box-figure8
Reports:    heat maps of one photograph; Grad-CAM's are said to be coarse, unlike those of the other gradient methods,
            and guided Grad-CAM's to have a higher resolution.
Cost:       five passes of VGG-16 an image: 3 minutes on a CPU core for the photographs, 2 GB.
Deviations: another network and other photographs than the survey's (see figure 6). Resolution is measured by us, as the
            share of a map's variance within squares of an eighth of its side.
"""

from collections.abc import Sequence

from experiments.white_box.map_figures import Says, measure_maps, summary_of_maps
from xcnn.launch import launch
from xcnn.report import PaperNumber, Row, Summary


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    says: list[Says] = [("fine_detail", "grad_cam", "guided_backprop", "lower"),
            ("fine_detail", "guided_grad_cam", "grad_cam", "higher")]  # fmt: skip
    return summary_of_maps("White-box survey, figure 8: Grad-CAM and guided Grad-CAM", rows, says)


if __name__ == "__main__":
    launch(__file__, measure_maps, summarise)
