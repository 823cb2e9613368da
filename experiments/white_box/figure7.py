"""White-box survey, figure 7: the path along which integrated gradients are taken.

Paper:      Ayyar et al. 2021, section 4.4 and figure 7.
Command:    make white-box-figure7
Reports:    seven images between a black one and a photograph; the integral is a sum over such points, and the map is
            said to fluctuate less than the gradient's when the image changes invisibly.
Cost:       about 35 passes there and back of VGG-16 an image: 20 minutes on a CPU core for 24, 2 GB.
Deviations: the survey gives no number of points and no test of its claim: the sum's error is the distance of the map's
            sum to the difference of the scores, and the change under noise is measured as a correlation of maps.
"""

from collections.abc import Sequence

import torch

from experiments.pixel_ablation_cam.comparisons import by_method
from experiments.white_box.families import DRAWN_DATA
from xcnn.evaluation.integrated_gradients import METHODS, measure_integration, path
from xcnn.evaluation.selection import select_images
from xcnn.figures import integration_path, save_png
from xcnn.launch import Setup, launch
from xcnn.report import Cell, Measured, PaperNumber, Row, Summary, claim


def measure(setup: Setup, cell: Cell) -> Measured:
    options, figure, subject = setup.options, setup.options.figure, setup.explained()
    pictures = select_images([subject], figure.rules, figure.pictures)
    alphas = torch.linspace(0, 1, figure.alphas)
    gradient = setup.variant("attribution=gradient").attribution(subject)
    file = f"figure7-{options.dataset}.png"
    drawn = [path(subject, gradient, image, alphas, figure.steps[-1]) for image in subject.scaled(pictures)]
    save_png(integration_path(drawn, alphas.tolist()), cell.folder / file)
    values, n = measure_integration(cell, subject, gradient, figure.steps, figure.noise, options.seed, options.chunk)
    return subject.measured(values, n, files=[file])


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    claims = [
        claim(by_method(row, METHODS), "correlation", *METHODS, "higher", counts=row.dataset != DRAWN_DATA)
        for row in rows
    ]
    measured = [{"row": row} for row in rows]
    title = "White-box survey, figure 7: integrated gradients along the path"
    return Summary(title, claims=claims, facts={"measured": measured, "claim_digits": 3})


if __name__ == "__main__":
    launch(__file__, measure, summarise)
