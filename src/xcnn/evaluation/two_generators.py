"""What a pair of generators does to the class, and the maps of the pair, of one generator and of the gradient."""

import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from xcnn.attribution import Gradient, TwoGenerators
from xcnn.data.pictures import PictureBatch
from xcnn.evaluation.gallery import Gallery
from xcnn.evaluation.image_rows import differences, image_rows, with_intervals
from xcnn.evaluation.subject import Subject
from xcnn.figures import Scale, relevance_grid
from xcnn.metrics import auc, deletion_curves, energy_inside, fine_detail, iou
from xcnn.report.cells import Cell

PAIR, ONE, GRADIENT = KINDS = ("pair", "one_generator", "gradient")  # whose maps are measured
QUANTITIES = ("energy", "iou", "deletion", "fine_detail")


def measure_two_generators(
    cell: Cell, subject: Subject, method: TwoGenerators, chunk: int, steps: int, perturbed_batch: int
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Rows of each image, and their means with intervals and with the paired differences of the pair from one.

    Whether the similar image keeps the class (`kept`) and the adversarial one loses it (`turned`), how far the similar
    image is from the image (`moved`, in shares of a pixel's range), and of each kind of map the quantities:
    `deletion/pair`. Localisation is measured where the test images have masks of the object.

    Args:
        chunk: number of images whose rows a kill can cost.
        steps: number of steps of deletion.
        perturbed_batch: number of altered images that go through the network at a time.
    """
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
            found |= {f"{name}/{kind}": values for name, values in quantities(each, inputs, classes, inside).items()}
        return found

    def quantities(maps: Tensor, inputs: Tensor, classes: Tensor, inside: Tensor | None) -> dict[str, Tensor]:
        def score(versions: Tensor, image: Tensor) -> Tensor:
            return method.logits(versions).softmax(1).gather(1, classes[image, None])[:, 0]

        curves = deletion_curves(score, inputs, maps, torch.zeros_like(inputs[:1]), steps, perturbed_batch)
        found = {"deletion": auc(curves), "fine_detail": fine_detail(maps)}
        if inside is not None:
            found |= {"energy": energy_inside(maps, inside.to(maps.device)), "iou": iou(maps, inside.to(maps.device))}
        return found

    rows = image_rows(cell, subject, chunk, columns)
    metrics = [str(name) for name in rows if "/" in str(name) or name in ("kept", "turned", "moved")]
    values = with_intervals(rows[metrics].astype(float))
    measured = [name for name in QUANTITIES if f"{name}/{PAIR}" in rows]
    own, other = (rows[[f"{name}/{kind}" for name in measured]] for kind in (PAIR, ONE))
    values |= differences(own, other.set_axis(own.columns, axis=1), f"less_{ONE}")
    values["accuracy"] = float((rows["class"] == rows["label"]).mean())
    if masks is not None:
        values["chance"] = float((masks[masks.flatten(1).amax(1) > 0] > 0).double().mean())
    return rows, values


def generated_images(subject: Subject, method: TwoGenerators, pictures: PictureBatch) -> Figure:
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
    looks: list[Scale] = ["picture", "picture", "sequential", "sequential"]
    rows = gallery.rows({name: each.cpu() for name, each in maps.items()}, {"adversarial": classes})
    return relevance_grid(rows, dict(zip(maps, looks, strict=True)))
