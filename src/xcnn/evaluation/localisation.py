"""Where explanations look, against ground-truth boxes, and how the score falls with what they mark: cells and page."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from xcnn.attribution import Method, upsample
from xcnn.data.pictures import PictureBatch
from xcnn.evaluation.image_rows import Columns, differences, image_rows, named, with_intervals
from xcnn.evaluation.subject import Subject
from xcnn.figures import Curve, curves_plot
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
from xcnn.report.page import Column, Summary
from xcnn.report.shards import side_by_side
from xcnn.report.tables import Row, markdown

LOWER_IS_BETTER = ("deletion",)
DRAWN = ("grad_cam", "grad_cam_plus_plus", "ablation_cam", "pixel_ablation_cam", "random")  # curves told apart


@dataclass(frozen=True)
class Perturbation:
    """Insertion, deletion and ROAD take many passes, so they are measured on a share of the pictures.

    Args:
        share: of the pictures, chosen by their ids, so that it is the same share however the list is cut.
        steps: equal portions of the pixels that are inserted and deleted.
        batch: altered pictures that go through the network at a time.
    """

    share: float
    steps: int
    batch: int

    def chosen(self, name: str) -> bool:
        return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big") < self.share * 2**48


def measure_localisation(
    cell: Cell, subject: Subject, method: Method, keeps: Sequence[float], perturbation: Perturbation, chunk: int
) -> Measured:
    """Rows of every metric of localisation against the union of each picture's boxes, for the class predicted.

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
        """Areas and curves for the chosen pictures, NaN for the others."""
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


def metrics_of(rows: pd.DataFrame) -> list[str]:
    """The columns that are metrics."""
    return [str(name) for name in rows if name not in ("image", "id", "broken", "label", "target", "boxes")]


def pool_localisation(rows: Mapping[str, pd.DataFrame], reference: str) -> dict[str, dict[str, float]]:
    """Means with 95 % intervals and paired differences to the reference, of all methods on the same pictures."""
    rows = {method: frame[~frame["broken"]] for method, frame in rows.items()}
    values = {}
    for method, frame in rows.items():
        table = frame[metrics_of(frame)]
        found = with_intervals(table)
        if method != reference and reference in rows:
            found |= differences(table, rows[reference])
        found |= {
            "top1": float((frame["label"] == frame["target"]).mean()),
            "with_boxes": int((frame["boxes"] > 0).sum()),
            "perturbed": int(frame["deletion"].notna().sum()),
        }
        values[method] = found
    return values


def localisation_summary(name: str, title: str, rows: Sequence[Row]) -> Summary:
    """The page: what the numbers say, tables with intervals, and the mean curves of insertion and deletion."""
    columns = [
        Column("pointing", "pointing game"),
        Column("energy", "energy in boxes"),
        Column("iou", "IoU at 15 %"),
        Column("box_iou", "IoU of boxes"),
        Column("localised", "localised (IoU >= .5)"),
        Column("chance", "boxes' share (chance)"),
        Column("insertion", "insertion AUC"),
        Column("deletion", "deletion AUC"),
        Column("road", "ROAD"),
    ]
    parts = [
        "Maps of the predicted class against the union of the picture's boxes. Pointing game: is the maximum in a box "
        "(Zhang et al. 2018, without tolerance); energy: the share of the map's positive mass in the boxes (Wang et "
        "al. 2020); IoU at 15 %: of the pixels above 15 % of the maximum with the boxes; IoU of boxes: of the box "
        "around the largest segment above 15 % with the box it fits best, and the share of pictures where that reaches "
        "one half (Grad-CAM's convention). A map that knows nothing has the boxes' share of the picture in pointing "
        "and energy."
    ]
    drawings, captions = {}, {}
    for place, group in side_by_side(rows).items():
        first = group[0]
        parts.append(
            f"**{first.model} on {first.setting}**: top-1 {first.mean['top1']:.3f}, {first.mean['with_boxes']:.0f} "
            f"pictures with a box inside the crop; insertion, deletion (mean colour and blurred picture as baselines) "
            f"and ROAD on {first.mean['perturbed']:.0f} of them."
        )
        metrics = [column for column in columns if column.metric != "chance"]
        parts.append("Mean with 95 % bootstrap interval over pictures:")
        parts.append(
            markdown(
                ["method", *(column.title for column in metrics)],
                [[row.method, *(_with_interval(row, column.metric) for column in metrics)] for row in group],
            )
        )
        parts.append("Figure 4's keeps: precision / recall of the highest 10, 30 and 50 % of the pixels in the boxes.")
        keeps = [metric.split("/")[1] for metric in first.mean if metric.startswith("precision/")]
        lines = [
            [row.method, *(f"{row.mean[f'precision/{k}']:.3f} / {row.mean[f'recall/{k}']:.3f}" for k in keeps)]
            for row in group
        ]
        parts.append(markdown(["method", *(f"keep {keep}" for keep in keeps)], lines))
        parts.append(_verdict(group))
        file = f"{name}-curves-{place}.png"
        drawings[file] = curves_plot(_curves(group), title=f"{first.model}, {first.mean['perturbed']:.0f} pictures")
        captions[file] = f"Insertion and deletion with {first.model}, mean and 95 % interval over pictures."
    return Summary(title, "\n\n".join(parts), columns, drawings, captions)


def _with_interval(row: Row, metric: str) -> str:
    low, high = row.mean.get(f"{metric}.low"), row.mean.get(f"{metric}.high")
    return row.show(metric) if low is None or high is None else f"{row.mean[metric]:.3f} [{low:.3f}, {high:.3f}]"


def _verdict(group: Sequence[Row]) -> str:
    """For each metric, which methods differ from the reference by more than chance."""
    lines = []
    for metric in ("pointing", "energy", "iou", "localised", "insertion", "deletion", "road"):
        better: list[str] = []
        worse: list[str] = []
        for row in group:
            low, high = row.mean.get(f"{metric}.less_low"), row.mean.get(f"{metric}.less_high")
            if low is None or high is None or low <= 0 <= high:
                continue
            above = low > 0
            (better if above != (metric in LOWER_IS_BETTER) else worse).append(row.method)
        lines.append([metric, ", ".join(better) or "none", ", ".join(worse) or "none"])
    return "Against Grad-CAM, picture by picture, the 95 % interval of the difference leaves out 0 for:\n\n" + markdown(
        ["metric", "better than Grad-CAM", "worse than Grad-CAM"], lines
    )


def _curves(group: Sequence[Row]) -> dict[str, dict[str, Curve]]:
    def curve(row: Row, kind: str) -> Curve:
        steps = sorted(metric for metric in row.mean if metric.startswith(f"{kind}_curve/"))
        parts = [[row.mean[named(step, part)] for step in steps] for part in ("", "low", "high")]
        return Curve(*parts)

    drawn = [row for row in group if row.method in DRAWN]
    return {kind: {row.method: curve(row, kind) for row in drawn} for kind in ("insertion", "deletion")}
