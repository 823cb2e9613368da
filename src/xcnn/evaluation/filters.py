"""Filters on one image: chosen by score, put into words, the words checked again (DeConvolve, section 3.2 to 4.3)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from xcnn.evaluation.selection import ImageChoice
from xcnn.evaluation.subject import Subject
from xcnn.figures import FilterView
from xcnn.filters import FilterActivity, measure_activity, score_filters
from xcnn.language import Describer, Description, FilterEvidence, verify
from xcnn.models.split import split_at


@dataclass(frozen=True)
class ExplainedFilter:
    """A filter on an image: as the figures draw it, and in words."""

    index: int
    view: FilterView
    description: Description
    supported: int

    def as_record(self) -> dict[str, Any]:
        """Plain values for a cell's details."""
        return {
            "filter": self.index,
            "score": self.view.score,
            "text": self.description.text,
            "claims": len(self.description.claims),
            "supported": self.supported,
            "provider": self.description.provider,
            "evidence": self.description.evidence_hash,
        }


class FilterExplainer:
    """Explains single filters of one layer of a network: scores and activity are measured once, for all images.

    Args:
        subject: network whose test images give the classes that each filter fires for.
        layer: name of a post-ReLU layer.
        describer: what puts a filter's map into words.
        threshold: t of the masks.
    """

    def __init__(self, subject: Subject, layer: str, describer: Describer, threshold: float = 0.1):
        network, self.data, self.normalise = subject.network, subject.data, subject.normalise
        self.layer, self.describer, self.threshold = layer, describer, threshold
        self.split = split_at(network, layer)
        self.scores = score_filters(network, layer, self.data.input_size)
        batches = ((self.normalise(images), labels) for images, labels in self.data.test_dataloader())
        self.activity: FilterActivity = measure_activity(network, layer, batches, len(self.data.classes), threshold)

    @torch.inference_mode()
    def maps(self, image: Tensor) -> Tensor:
        """(K, h, w) post-ReLU maps of one image (C, H, W) in [0, 1]."""
        return self.split.trunk(self.normalise(image[None]))[0]

    def ranked(self, image: Tensor, target: str, live_only: bool = True) -> list[int]:
        """Filters by score for a class, highest first; those without a live map on the image left out unless asked."""
        scores = self.scores[self.data.classes.index(target)]
        order = scores.argsort(descending=True, stable=True).tolist()
        if live_only:
            live = (self.maps(image).amax((1, 2)) > 0).tolist()
            order = [index for index in order if live[index]]
        return order

    def evidence(self, choice: ImageChoice, target: str, index: int, maps: Tensor | None = None) -> FilterEvidence:
        """What a describer may look at of one filter on one image, for a class; `maps` of the image where at hand."""
        maps = self.maps(choice.image) if maps is None else maps
        return FilterEvidence(
            self.layer,
            index,
            choice.image,
            maps[index],
            target,
            choice.predicted,
            float(self.scores[self.data.classes.index(target), index]),
            self.data.classes,
            self.activity.auroc[:, index],
            self.threshold,
        )

    def explain(self, choice: ImageChoice, target: str, index: int) -> ExplainedFilter:
        """One filter on one image, with its words and how many of their claims the evidence supports."""
        evidence = self.evidence(choice, target, index)
        description = self.describer.describe(evidence)
        supported = sum(verdict.outcome == "supported" for verdict in verify(description, evidence))
        view = FilterView(f"{self.layer}/{index}", evidence.activation.numpy(), evidence.score, description.text)
        return ExplainedFilter(index, view, description, supported)
