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

import torch
from torch import Tensor

from experiments.pixel_ablation_cam.comparisons import by_method
from xcnn.attribution import Gradient, TwoGenerators
from xcnn.data.pictures import PictureBatch
from xcnn.evaluation.gallery import Gallery
from xcnn.evaluation.image_rows import differences, image_rows, with_intervals
from xcnn.evaluation.selection import select_images
from xcnn.evaluation.subject import Subject
from xcnn.figures import Scale, relevance_grid, save_png
from xcnn.launch import Setup, launch
from xcnn.metrics import auc, deletion_curves, energy_inside, fine_detail, iou
from xcnn.report import Cell, Claim, Column, Measured, PaperNumber, Row, Summary, claim

PAIR, ONE, GRADIENT = KINDS = ("pair", "one_generator", "gradient")  # whose maps are measured
QUANTITIES = ("energy", "iou", "deletion", "fine_detail")


def measure(setup: Setup, cell: Cell) -> Measured:
    options, subject = setup.options, setup.explained()
    method = setup.attribution(subject)
    assert isinstance(method, TwoGenerators)
    gradient, unit = Gradient(subject.network), method.generators.unit
    masks = subject.data.test.masks.get("object")
    places = {name: place for place, name in enumerate(subject.pictures.ids)}

    def columns(batch: PictureBatch) -> dict[str, Tensor]:
        inputs = subject.normalise(subject.scaled(batch))
        classes = method.logits(inputs).argmax(1)
        with torch.no_grad():
            similar, adversarial = method.pair(inputs)
        found = {
            "class": classes,
            "kept": method.logits(similar).argmax(1) == classes,
            "turned": method.logits(adversarial).argmax(1) != classes,
            "moved": (unit(similar) - unit(inputs)).abs().mean((1, 2, 3)),
        }
        maps = {
            PAIR: (similar - adversarial).abs().amax(1),
            ONE: (inputs - adversarial).abs().amax(1),
            GRADIENT: gradient(inputs, classes),
        }
        inside = masks[[places[name] for name in batch.ids]] > 0 if masks is not None else None
        for kind, each in maps.items():
            found |= {f"{name}/{kind}": values for name, values in looks(each, inputs, classes, inside).items()}
        return found

    def looks(maps: Tensor, inputs: Tensor, classes: Tensor, inside: Tensor | None) -> dict[str, Tensor]:
        def score(versions: Tensor, image: Tensor) -> Tensor:
            return method.logits(versions).softmax(1).gather(1, classes[image, None])[:, 0]

        curves = deletion_curves(
            score, inputs, maps, torch.zeros_like(inputs[:1]), options.steps, options.perturbed_batch
        )
        found = {"deletion": auc(curves), "fine_detail": fine_detail(maps, max(2, maps.shape[1] // 8))}
        if inside is not None:
            found |= {"energy": energy_inside(maps, inside.to(maps.device)), "iou": iou(maps, inside.to(maps.device))}
        return found

    rows = image_rows(cell, subject, options.chunk, columns)
    metrics = [str(name) for name in rows if "/" in str(name) or name in ("kept", "turned", "moved")]
    values = with_intervals(rows[metrics].astype(float))
    measured = [name for name in QUANTITIES if f"{name}/{PAIR}" in rows]
    own, other = (rows[[f"{name}/{kind}" for name in measured]] for kind in (PAIR, ONE))
    values |= differences(own, other.set_axis(own.columns, axis=1), f"less_{ONE}")
    values["accuracy"] = float((rows["class"] == rows["label"]).mean())
    if masks is not None:
        values["chance"] = float((masks[masks.flatten(1).amax(1) > 0] > 0).double().mean())
    file = f"two_generators-{options.dataset}-{options.method}.png"
    save_png(drawn(subject, method, select_images([subject], options.figure.rules, options.figure.pictures)),
             cell.folder / file)  # fmt: skip
    record = setup.generators(subject)[1]
    details = {"generators": {key: record[key] for key in ("fingerprint", "epochs", "wall_s", "weights", "log")}}
    return subject.measured(values, len(rows), details=details, files=[file])


def drawn(subject: Subject, method: TwoGenerators, pictures: PictureBatch) -> Any:
    """Per picture: the similar and the adversarial image, their difference, and that of picture and adversarial."""
    gallery = Gallery.of(subject, {"": method}, pictures)
    with torch.no_grad():
        inputs = subject.normalise(subject.scaled(pictures))
        similar, adversarial = method.pair(inputs)
        classes = [subject.classes[each] for each in method.logits(adversarial).argmax(1).tolist()]
    unit = method.generators.unit
    maps = {
        "similar": unit(similar),
        "adversarial": unit(adversarial),
        "similar - adversarial": (similar - adversarial).abs().amax(1),
        "image - adversarial": (inputs - adversarial).abs().amax(1),
    }
    notes = {"adversarial": classes}
    looks: list[Scale] = ["picture", "picture", "sequential", "sequential"]
    scales = dict(zip(maps, looks, strict=True))
    return relevance_grid(gallery.rows({name: each.cpu() for name, each in maps.items()}, notes), scales)


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    claims: list[Claim] = []
    measured: list[Mapping[str, Any]] = []
    for row in rows:
        own = by_method(row, KINDS)
        measured.append({"row": row, "kinds": own})
        claims.append(claim(own, "fine_detail", PAIR, ONE, "lower"))
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
