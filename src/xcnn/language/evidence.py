"""What a describer may look at: one filter on one image."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from xcnn.errors import UserError


@dataclass(frozen=True, eq=False)
class FilterEvidence:
    """One filter's response to one image, and what the filter does for the classes.

    Arrays may be numpy or torch on any device; they are kept as CPU tensors without gradient.

    Attributes:
        layer: name of the layer.
        filter: index of the filter in it.
        image: (3, H, W) sRGB in [0, 1].
        activation: (h, w) post-ReLU map, as the network computes it.
        target: the class that `score` is about.
        predicted: the class that the network predicts for the image.
        score: algorithm 1's score of the filter for `target`: p(unit map) - p(zeros), in [-1, 1].
        classes: the class names.
        auroc: (classes,) how well the filter's mean activation tells each class from the rest; NaN if unmeasured.
        threshold: t of the mask activation > t * max (spec, Loss).

    Raises:
        UserError: a shape, a range or a class name does not fit.
    """

    layer: str
    filter: int
    image: Tensor
    activation: Tensor
    target: str
    predicted: str
    score: float
    classes: tuple[str, ...]
    auroc: Tensor
    threshold: float = 0.1

    def __post_init__(self) -> None:
        for name in ("image", "activation", "auroc"):
            object.__setattr__(self, name, torch.as_tensor(getattr(self, name)).detach().cpu())

        def refuse(found: str, remedy: str) -> UserError:
            return UserError(f"evidence on {self.layer}/{self.filter}: {found}; {remedy}.")

        if self.image.ndim != 3 or self.image.shape[0] != 3 or not self.image.numel():
            raise refuse(f"image is {tuple(self.image.shape)}", "pass one RGB image (3, H, W)")
        if not (self.image.isfinite().all() and self.image.min() >= 0 and self.image.max() <= 1):
            raise refuse("image has values outside [0, 1]", "pass it as drawn, before normalisation")
        if self.activation.ndim != 2 or not self.activation.numel():
            raise refuse(f"activation is {tuple(self.activation.shape)}", "pass one filter's map (h, w)")
        if not (self.activation.isfinite().all() and self.activation.min() >= 0):
            raise refuse("activation has negative or non-finite values", "pass the map after the ReLU")
        if self.auroc.shape != (len(self.classes),):
            raise refuse(f"auroc is {tuple(self.auroc.shape)} for {len(self.classes)} classes", "pass one per class")
        if unknown := {self.target, self.predicted} - set(self.classes):
            raise refuse(f"unknown class {sorted(unknown)}", f"choose from {', '.join(self.classes)}")
        if not 0 <= self.threshold < 1:
            raise refuse(f"threshold is {self.threshold}", "choose a share of the maximum in [0, 1)")

    @cached_property
    def evidence_hash(self) -> str:
        """SHA-256 of the contents, in 64 hexadecimal digits; the same for equal values on any machine, in any dtype."""
        digest = hashlib.sha256()
        plain = (self.layer, self.filter, self.target, self.predicted, float(self.score), list(self.classes))
        digest.update(json.dumps([*plain, float(self.threshold)]).encode())
        for tensor in (self.image, self.activation, self.auroc):
            digest.update(json.dumps(list(tensor.shape)).encode())
            digest.update(tensor.detach().to("cpu", torch.float64).contiguous().numpy().astype("<f8").tobytes())
        return digest.hexdigest()
