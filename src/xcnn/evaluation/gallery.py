"""Pictures that a network gets right, and what several methods make of each (figures 2 to 5 of Pixel Ablation-CAM)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from xcnn.attribution import Explanation, Method, upsample
from xcnn.data.pictures import PictureBatch
from xcnn.evaluation.image_rows import differences, with_intervals
from xcnn.evaluation.subject import Subject
from xcnn.figures import HeatMapRow
from xcnn.metrics import Outputs, Protocol, box_mask, box_masks, top_fraction_overlap

OVERLAPS = ("precision", "recall", "iou")


@dataclass(frozen=True)
class Gallery:
    """Pictures in memory with the explanation of each by each method, for the class that the network predicts.

    Attributes:
        subject: the network.
        pictures: n of them.
        methods: by name.
        explanations: of the n pictures, by method, on the CPU.
    """

    subject: Subject
    pictures: PictureBatch
    methods: Mapping[str, Method]
    explanations: Mapping[str, Explanation]

    @classmethod
    def of(cls, subject: Subject, methods: Mapping[str, Method], pictures: PictureBatch) -> "Gallery":
        """All methods on all pictures."""
        return cls(subject, pictures, methods, {name: _explain(subject, m, pictures) for name, m in methods.items()})

    @property
    def outputs(self) -> Outputs:
        """Confidence and activation of the class explained, (n,) each."""
        explanation = next(iter(self.explanations.values()))
        return Outputs.of(explanation.logits, explanation.targets)

    @property
    def predicted(self) -> list[str]:
        """Names of the classes explained."""
        return [self.subject.classes[target] for target in next(iter(self.explanations.values())).targets.tolist()]

    @property
    def titles(self) -> list[str]:
        """Class and confidence, for below each picture; a wrong one's own class as well."""
        labels = [self.subject.classes[label] for label in self.pictures.labels.tolist()]
        return [
            f"{name}{'' if name == label else f' (is {label})'}, confidence {confidence:.2f}"
            for name, label, confidence in zip(self.predicted, labels, self.outputs.confidence.tolist(), strict=True)
        ]

    def kept(self, method: str, fraction: float) -> Tensor:
        """The highest `fraction` of each map's pixels, at the pictures' size: bool (n, H, W)."""
        maps = upsample(self.explanations[method].maps, self.pictures.images.shape[2:])
        return Protocol("top_fraction", "black", fraction).masks(maps) > 0

    @torch.inference_mode()
    def retained_confidence(self, method: str, fraction: float) -> Tensor:
        """The confidence in the same class when only `kept` is shown, on black: (n,)."""
        protocol, found = Protocol("top_fraction", "black", fraction), []
        masks, targets = self.kept(method, fraction), self.explanations[method].targets
        for places in torch.arange(len(masks)).split(self.subject.batch):
            images = self.subject.scaled(replace(self.pictures, images=self.pictures.images[places]))
            shown = protocol.explanation(images, masks[places].to(images.device), self.subject.normalise)
            with self.subject.autocast():
                logits = self.methods[method].logits(shown)
            found.append(Outputs.of(logits.cpu(), targets[places]).confidence)
        return torch.cat(found)

    def rows(
        self, maps: Mapping[str, Tensor], notes: Mapping[str, Sequence[str]] | None = None, boxes: bool = False
    ) -> list[HeatMapRow]:
        """What the figures draw: a row per image, a panel for each of `maps` (n, ...), by heading, and its note."""
        return [
            HeatMapRow(
                self.pictures.images[place],
                title,
                {name: values[place] for name, values in maps.items()},
                self.pictures.boxes[place] if boxes else torch.empty(0, 4),
                {name: texts[place] for name, texts in (notes or {}).items()},
            )
            for place, title in enumerate(self.titles)
        ]

    def as_records(self, **columns: Mapping[str, Sequence[Any] | Tensor | pd.Series]) -> list[dict[str, Any]]:
        """Plain values for a cell's details: id, class, confidence and boxes of each picture, `columns` by method."""
        labels, predicted = self.pictures.labels.tolist(), self.predicted
        return [
            {
                "id": self.pictures.ids[place],
                "label": self.subject.classes[labels[place]],
                "predicted": predicted[place],
                "confidence": confidence,
                "boxes": len(self.pictures.boxes[place]),
                **{
                    column: {method: _defined(float(values[place])) for method, values in by_method.items()}
                    for column, by_method in columns.items()
                },
            }
            for place, confidence in enumerate(self.outputs.confidence.tolist())
        ]


def correlation(maps: Tensor, others: Tensor) -> Tensor:
    """Pearson's, over the locations of each pair of maps: two of (n, h, w) -> (n,); NaN where one is constant."""
    both = torch.stack([maps, others]).double().flatten(2)
    both = both - both.mean(2, keepdim=True)
    norms = both.norm(dim=2)
    constant = norms <= 1e-6 * torch.stack([maps, others]).double().flatten(2).norm(dim=2)
    return ((both[0] * both[1]).sum(1) / norms.prod(0)).masked_fill(constant.any(0), torch.nan)


def boxes_kept(kept: Tensor, boxes: Sequence[Tensor]) -> list[Tensor]:
    """The share of each box's pixels that is kept: bool (n, H, W), n tensors (m, 4) -> n of (m,) in [0, 1].

    A box too thin to hold the centre of a pixel has no share, and is left out.
    """
    shares = []
    for mask, each in zip(kept, boxes, strict=True):
        inside = (box_mask(box, mask.shape) for box in each[:, None])
        shares.append(torch.tensor([float(mask[one].double().mean()) for one in inside if one.any()]))
    return shares


def instances_kept(gallery: Gallery, method: str, fraction: float) -> pd.DataFrame:
    """How many of an image's boxes are found by what a map keeps, image by image.

    Returns:
        `covered`, the share of the boxes at least half of which is kept, and `touched`, of those with any pixel kept;
        whether all are (`all_covered`, `all_touched`), and whether only one is touched (`one_touched`).
    """
    shares = boxes_kept(gallery.kept(method, fraction), gallery.pictures.boxes)
    covered = pd.Series([float((share >= 0.5).double().mean()) for share in shares])
    touched = pd.Series([float((share > 0).double().mean()) for share in shares])
    return pd.DataFrame(
        {
            "covered": covered,
            "touched": touched,
            "all_covered": (covered == 1).astype(float),
            "all_touched": (touched == 1).astype(float),
            "one_touched": pd.Series([float((share > 0).sum() == 1) for share in shares]),
        }
    )


def overlaps_kept(gallery: Gallery, method: str, fractions: Sequence[float]) -> pd.DataFrame:
    """`iou@30%` and the like (`OVERLAPS`) of each image: what is kept against the union of the boxes."""
    masks = box_masks(gallery.pictures.boxes, gallery.pictures.images.shape[2:])
    columns: dict[str, Tensor] = {}
    for fraction in fractions:
        overlap = top_fraction_overlap(gallery.explanations[method].maps, masks, fraction)
        columns |= {f"{measure}@{fraction:.0%}": getattr(overlap, measure) for measure in OVERLAPS}
    return pd.DataFrame({name: values.numpy() for name, values in columns.items()})


def compared(tables: Mapping[str, pd.DataFrame], reference: str) -> dict[str, float]:
    """Means over pictures: `metric/method` and its interval, and the difference to the reference's with its own.

    Args:
        tables: by method, a row per picture and a column per metric; the same pictures in all.
        reference: the method that the others are compared with.
    """
    values: dict[str, float] = {}
    for method, table in tables.items():
        own = table.add_suffix(f"/{method}")
        values |= with_intervals(own)
        if method != reference:
            values |= differences(own, tables[reference].add_suffix(f"/{method}"))
    return values


@torch.inference_mode()
def _explain(subject: Subject, method: Method, pictures: PictureBatch) -> Explanation:
    parts = []
    for images in pictures.images.split(subject.batch):
        inputs = subject.normalise(subject.scaled(replace(pictures, images=images)))
        with subject.autocast():
            parts.append(method.explain(inputs))
    return Explanation(
        *(torch.cat([getattr(part, field.name) for part in parts]).cpu() for field in fields(Explanation))
    )


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value
