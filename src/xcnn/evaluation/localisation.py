"""Where explanations look, against ground-truth boxes, and how the score falls with what they mark."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from xcnn.attribution import Method, upsample
from xcnn.data.pictures import PictureBatch
from xcnn.evaluation.image_rows import Columns, image_rows, metrics_of, with_differences
from xcnn.evaluation.subject import Subject
from xcnn.metrics import (
    auc,
    blurred,
    box_iou_best,
    box_masks,
    deletion_curves,
    energy_inside,
    insertion_curves,
    iou,
    largest_component_box,
    localised,
    pointing_game,
    road_combined,
    road_scores,
    top_fraction_overlap,
)
from xcnn.report.cells import Cell, Measured


@dataclass(frozen=True)
class Perturbation:
    """Insertion, deletion and ROAD take many passes, so they are measured on a share of the images.

    Args:
        share: share of the images, chosen by their ids, so that it is the same share however the list is cut.
        steps: number of equal portions of the pixels that are inserted and deleted.
        batch: number of altered images that go through the network at a time.
    """

    share: float
    steps: int
    batch: int

    def chosen(self, name: str) -> bool:
        return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big") < self.share * 2**48


def measure_localisation(
    cell: Cell, subject: Subject, method: Method, keeps: Sequence[float], perturbation: Perturbation, chunk: int
) -> Measured:
    """Rows of every metric of localisation against the union of each image's boxes, for the class predicted.

    Args:
        keeps: shares of the pixels whose overlap with the boxes is measured (figure 4).
    """

    @torch.inference_mode()
    def columns(batch: PictureBatch) -> Columns:
        pictures = subject.scaled(batch)
        inputs = subject.normalise(pictures)
        with subject.autocast():
            explanation = method.explain(inputs)
        size = pictures.shape[2:]
        maps, targets = explanation.maps, explanation.targets
        large = upsample(maps, size)
        masks = box_masks(batch.boxes, size).to(maps.device)
        best = box_iou_best(largest_component_box(large), [boxes.to(maps.device) for boxes in batch.boxes])
        found: dict[str, Tensor] = {
            "target": targets,
            "boxes": torch.tensor([len(boxes) for boxes in batch.boxes]),
            "chance": masks.float().mean((1, 2)),
            "pointing": pointing_game(maps, masks),
            "pointing_15px": pointing_game(maps, masks, tolerance=15),
            "energy": energy_inside(maps, masks),
            "iou": iou(maps, masks),
            "box_iou": best,
            "localised": localised(best),
        }
        for keep in keeps:
            overlap = top_fraction_overlap(maps, masks, keep)
            found |= {f"{name}/{keep:.0%}": getattr(overlap, name) for name in ("precision", "recall", "iou")}
        return {**found, **perturbed(inputs, maps, targets, batch.ids)}

    def perturbed(inputs: Tensor, maps: Tensor, targets: Tensor, ids: Sequence[str]) -> dict[str, Tensor]:
        """Areas and curves for the chosen images, NaN for the others."""
        places = [place for place, name in enumerate(ids) if perturbation.chosen(name)]
        names = [
            f"{kind}_curve/{step:02d}" for kind in ("deletion", "insertion") for step in range(perturbation.steps + 1)
        ]
        found = {name: torch.full((len(ids),), torch.nan) for name in ("deletion", "insertion", "road", *names)}
        if not places:
            return found
        images, own, classes = inputs[places], maps[places], targets[places]

        def score(versions: Tensor, image: Tensor) -> Tensor:
            with subject.autocast():
                logits = method.logits(versions.contiguous(memory_format=torch.channels_last))
            return logits.softmax(1).gather(1, classes[image, None])[:, 0]

        steps, size = perturbation.steps, perturbation.batch
        curves = {
            "deletion": deletion_curves(score, images, own, torch.zeros_like(images), steps, size),
            "insertion": insertion_curves(score, images, own, blurred(images), steps, size),
        }
        for kind, values in curves.items():
            found[kind][places] = auc(values).float().cpu()
            for step in range(steps + 1):
                found[f"{kind}_curve/{step:02d}"][places] = values[:, step].float().cpu()
        chosen = [ids[place] for place in places]
        found["road"][places] = road_combined(road_scores(score, images, own, chosen, batch=size)).float().cpu()
        return found

    rows = image_rows(cell, subject, chunk, columns)
    rows = rows[~rows["broken"]]
    values = {str(name): float(rows[name].mean()) for name in metrics_of(rows)}
    return subject.measured({**values, "top1": float((rows["label"] == rows["target"]).mean())}, len(rows))


def pool_localisation(rows: Mapping[str, pd.DataFrame], references: Sequence[str]) -> dict[str, dict[str, float]]:
    """Means with 95 % intervals, and paired differences to the references, of all methods on the same images.

    Args:
        rows: of each method.
        references: the methods that all others are compared with: differences to the first are named `less`, to any
            further one `less_<method>`.
    """
    rows = {method: frame[~frame["broken"]] for method, frame in rows.items()}
    tables = {method: frame[metrics_of(frame)] for method, frame in rows.items()}
    values = {}
    for method, frame in rows.items():
        found = with_differences(method, tables, references) | {
            "top1": float((frame["label"] == frame["target"]).mean()),
            "with_boxes": int((frame["boxes"] > 0).sum()),
            "perturbed": int(frame["deletion"].notna().sum()),
        }
        values[method] = found
    return values
