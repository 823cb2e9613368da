"""White-box survey, section 6: explanation by two generators, one that keeps the class and one that turns it.

Paper:      Ayyar et al. 2021, section 6 and eq. 27; Charachon et al. 2020.
Command:    make white-box-two-generators
Reports:    no number; the difference of an image and an adversarial one is called noisy and non-intuitive, and that of
            a similar and an adversarial image, by generators that share most of their parameters, better.
Cost:       on a CPU core that does nothing else, a shared body: shapes 2 minutes, car and truck 8, MNIST 16, CIFAR-10
            18 (an epoch 11, 45, 96 and 108 s); separate bodies nearly twice that; 2 GB.
Deviations: the paper explains chest X-rays. Its losses and weights are public in words only: ours are those of the
            authors' later code (see `xcnn.training.two_generators`), without its discriminator and augmentation, and
            with 10 epochs of Adam at 1e-3 (8 at 2e-3 in batches of 16 on shapes) in place of 60 at 1e-4. The
            adversarial image of the one-generator map is that of the pair. Localisation is measured on drawn shapes
            alone, whose masks are known; where the image shows no object, there is nothing to locate.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.pixel_ablation_cam.comparisons import by_method
from xcnn.attribution import TwoGenerators
from xcnn.evaluation.selection import select_images
from xcnn.evaluation.two_generators import KINDS, ONE, PAIR, generated_images, measure_two_generators
from xcnn.figures import save_png
from xcnn.launch import Setup, launch
from xcnn.report import Cell, Claim, Column, Measured, PaperNumber, Row, Summary, claim


def measure(setup: Setup, cell: Cell) -> Measured:
    options, subject = setup.options, setup.explained()
    method = setup.attribution(subject)
    assert isinstance(method, TwoGenerators)
    rows, values = measure_two_generators(cell, subject, method, options.chunk, options.steps, options.perturbed_batch)
    file = f"two_generators-{options.dataset}-{options.method}.png"
    pictures = select_images([subject], options.figure.rules, options.figure.pictures)
    save_png(generated_images(subject, method, pictures), cell.folder / file)
    record = setup.generators(subject)[1]
    details = {"generators": {key: record[key] for key in ("fingerprint", "epochs", "wall_s", "weights", "log")}}
    return subject.measured(values, len(rows), details=details, files=[file])


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    claims: list[Claim] = []
    measured: list[Mapping[str, Any]] = []
    for row in rows:
        own = by_method(row, KINDS)
        measured.append({"row": row, "kinds": own})
        claims.append(claim(own, "fine_detail", PAIR, ONE, "lower"))
        claims.append(claim(own, "deletion", PAIR, ONE, "lower", counts=False))  # ours
        if "energy" in own[0].mean:
            claims.append(claim(own, "energy", PAIR, ONE, "higher"))
    columns = [
        Column("accuracy", "accuracy of the classifier"),
        Column("kept", "similar images keep the class"),
        Column("turned", "adversarial images lose it"),
        Column("moved", "distance of similar images"),
    ]
    title = "White-box survey, section 6: two generators"
    return Summary(title, columns=columns, claims=claims, facts={"measured": measured, "claim_digits": 3})


if __name__ == "__main__":
    launch(__file__, measure, summarise)
