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
from torch import Tensor

from experiments.pixel_ablation_cam.comparisons import by_method
from experiments.white_box.map_figures import PHOTOGRAPHS
from xcnn.attribution import IntegratedGradients, Method
from xcnn.data.pictures import PictureBatch
from xcnn.evaluation.gallery import correlation
from xcnn.evaluation.image_rows import differences, image_rows, with_intervals
from xcnn.evaluation.selection import select_images
from xcnn.evaluation.subject import Subject
from xcnn.figures import PathRow, integration_path, save_png
from xcnn.launch import Setup, launch
from xcnn.report import Cell, Measured, PaperNumber, Row, Summary, claim

METHODS = ("integrated_gradients", "gradient")


def measure(setup: Setup, cell: Cell) -> Measured:
    options, figure, subject = setup.options, setup.options.figure, setup.explained()
    pictures = select_images([subject], figure.rules, figure.pictures)
    alphas = torch.linspace(0, 1, figure.alphas)
    gradient = setup.variant("attribution=gradient").attribution(subject)
    file = f"figure7-{options.dataset}.png"
    drawn = [path(subject, gradient, image, alphas, figure.steps[-1]) for image in subject.scaled(pictures)]
    save_png(integration_path(drawn, alphas.tolist()), cell.folder / file)

    def columns(batch: PictureBatch) -> dict[str, Tensor]:
        images = subject.scaled(batch)
        inputs, black = subject.normalise(images), subject.normalise(torch.zeros_like(images[:1]))
        generator = torch.Generator().manual_seed(options.seed)
        noise = figure.noise * torch.randn(images.shape[1:], generator=generator).to(images)
        noisy = subject.normalise((images + noise).clamp(0, 1))
        targets = gradient.logits(inputs).argmax(1)
        apart = score(subject, inputs, targets) - score(subject, black.expand_as(inputs), targets)
        found, last = {}, torch.empty(0)
        for rule in ("riemann", "gauss_legendre"):
            for steps in figure.steps:
                relevance = IntegratedGradients(subject.network, steps, black, rule).relevance(inputs, targets)
                found[f"error/{rule}-{steps}"] = ((relevance.sum((1, 2, 3)) - apart).abs() / apart.abs()).cpu()
                last = relevance.sum(1)
        again = IntegratedGradients(subject.network, figure.steps[-1], black)(noisy, targets)
        found[f"correlation/{METHODS[0]}"] = correlation(last.abs(), again.abs())
        found[f"correlation/{METHODS[1]}"] = correlation(gradient(inputs, targets), gradient(noisy, targets))
        return found

    rows = image_rows(cell, subject, options.chunk, columns)
    errors = rows[[name for name in rows if str(name).startswith("error/")]]
    own, other = (rows[[f"correlation/{name}"]] for name in METHODS)
    values = with_intervals(errors) | with_intervals(own) | with_intervals(other)
    values |= differences(own, other.set_axis(own.columns, axis=1), f"less_{METHODS[1]}")
    return subject.measured(values, len(rows), files=[file])


def path(subject: Subject, gradient: Method, image: Tensor, alphas: Tensor, steps: int) -> PathRow:
    """The images on the way from black to an image (3, H, W), the gradient there, and the integral."""
    images = alphas.to(image)[:, None, None, None] * image
    inputs = subject.normalise(images)
    target = gradient.logits(inputs[-1:]).argmax(1)
    confidence = gradient.logits(inputs).softmax(1)[:, int(target)]
    integrated = IntegratedGradients(subject.network, steps, inputs[:1])(inputs[-1:], target)[0]
    maps = torch.cat([gradient(one[None], target) for one in inputs])
    title = subject.classes[int(target)]
    notes = [f"confidence {each:.2f}" for each in confidence.tolist()]
    return PathRow(images.cpu(), maps.cpu(), integrated.cpu(), title, notes)


def score(subject: Subject, inputs: Tensor, targets: Tensor) -> Tensor:
    """The targets' logits (n,)."""
    with torch.no_grad():
        found: Tensor = subject.network(inputs).gather(1, targets[:, None])[:, 0]
    return found


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    claims = [
        claim(by_method(row, METHODS), "correlation", *METHODS, "higher", counts=row.dataset == PHOTOGRAPHS)
        for row in rows
    ]
    measured = [{"row": row} for row in rows]
    title = "White-box survey, figure 7: integrated gradients along the path"
    return Summary(title, claims=claims, facts={"measured": measured, "claim_digits": 3})


if __name__ == "__main__":
    launch(__file__, measure, summarise)
