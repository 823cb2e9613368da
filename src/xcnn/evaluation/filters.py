"""Filters on one image: chosen by score, put into words, the words checked again (DeConvolve, section 3.2 to 4.3)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xcnn.data.tensors import scale
from xcnn.evaluation.selection import ImageChoice
from xcnn.evaluation.subject import Subject
from xcnn.figures import FilterView
from xcnn.filters import FilterActivity, measure_activity, ramp, score_filters
from xcnn.language import Describer, Description, FilterEvidence, verify
from xcnn.metrics.localisation import energy_inside, pointing_game
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
        self.network, self.split = network, split_at(network, layer)
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

    def ramps(self, target: str, n: int) -> dict[str, NDArray[np.float32]]:
        """Of the n filters with the largest scores for a class, of either sign: the class's probability along the ramp.

        By the filter's name, such as `relu3/7`.
        """
        place = self.data.classes.index(target)
        curves = ramp(self.network, self.layer, self.data.input_size)[:, place]
        strongest = self.scores[place].abs().argsort(descending=True)[:n].tolist()
        return {f"{self.layer}/{index}": curves[:, index].numpy() for index in strongest}

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


@torch.inference_mode()
def score_localisation(explainer: FilterExplainer) -> dict[str, float]:
    """Where the layer looks for the class that is predicted: ReLU(sum_k score_ck A_k) against the object's mask.

    Returns:
        `energy` and `pointing`, means over test images, and `chance`, the objects' share of the pixels.
    """
    test, split = explainer.data.test, explainer.split
    masks, energy, pointing = test.masks["object"].bool(), list[Tensor](), list[Tensor]()
    for part in torch.arange(len(test)).split(500):
        maps = split.trunk(scale(test.images[part]))
        scores = explainer.scores[split.head(maps).argmax(1)]
        class_maps = torch.einsum("nk,nkhw->nhw", scores, maps).relu()
        energy.append(energy_inside(class_maps, masks[part]))
        pointing.append(pointing_game(class_maps, masks[part]))
    return {
        "energy": float(torch.cat(energy).nanmean()),
        "pointing": float(torch.cat(pointing).mean()),
        "chance": float(masks.float().mean()),
    }
