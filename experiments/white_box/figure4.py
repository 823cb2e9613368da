"""White-box survey, figure 4: a heat map in the colours of jet, over its image.

Paper:      Ayyar et al. 2021, section 3.3 and figure 4.
Command:    make white-box-figure4
Reports:    an overlay on one photograph; jet takes the maximum to red, the middle to yellow-green, the lowest to blue,
            and is called intuitive.
Cost:       seconds on a CPU core, after reading the photographs; 2 GB.
Deviations: the survey does not say of which method and network its map is, nor how opaque: Grad-CAM of VGG-16, half.
            Beside it stands our own overlay, of which all other pages are, and the lightness of both scales is
            measured (CIELAB), which the survey does not look at.
"""

from collections.abc import Sequence

import matplotlib
import numpy as np
import torch

from xcnn.colour import cielab
from xcnn.evaluation.gallery import Gallery
from xcnn.evaluation.selection import select_images
from xcnn.figures import Scale, relevance_grid, save_png
from xcnn.figures.heat_maps import HEAT
from xcnn.launch import Setup, launch
from xcnn.launch.titles import titled
from xcnn.report import Cell, Measured, PaperNumber, Row, Summary

CHANNELS = ("red", "green", "blue")
SAID = {"lowest": "blue", "middle": "green", "highest": "red"}


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    subject, figure = setup.explained(), options.figure
    name = titled(options.method)
    gallery = Gallery.of(
        subject, {name: setup.attribution(subject)}, select_images([subject], figure.rules, figure.pictures)
    )
    maps = gallery.explanations[name].maps
    scales: dict[str, Scale] = {f"{name} in jet": "jet", "over the image": "jet_overlay", "our overlay": "heat"}
    file = f"figure4-{options.dataset}.png"
    save_png(relevance_grid(gallery.rows(dict.fromkeys(scales, maps)), scales), cell.folder / file)
    values = {f"falling/{scale}": falling(scale, figure.colours) for scale in ("jet", HEAT)}
    details = {"layer": options.cam_layer, "colours": strongest("jet"), "pictures": gallery.as_records()}
    return subject.measured(values, len(gallery.titles), details=details, files=[file])


def falling(scale: str, steps: int) -> float:
    """Share of a colour scale's steps on which the colour grows darker as the value grows."""
    colours = torch.from_numpy(matplotlib.colormaps[scale](np.linspace(0, 1, steps))[:, :3])
    return float((cielab(colours)[:, 0].diff() < 0).double().mean())


def strongest(scale: str) -> dict[str, str]:
    """The strongest of red, green and blue at the lowest, middle and highest value of a scale."""
    colours = matplotlib.colormaps[scale]([0.0, 0.5, 1.0])[:, :3]
    return dict(zip(SAID, [CHANNELS[each] for each in colours.argmax(1)], strict=True))


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    as_said = all(record["details"]["colours"] == SAID for row in rows for record in row.records)
    return Summary(
        "White-box survey, figure 4: a heat map over its image",
        verdict="reproduced" if as_said else "not reproduced",
        facts={"ours_is": HEAT},
    )


if __name__ == "__main__":
    launch(__file__, measure, summarise)
