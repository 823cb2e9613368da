"""KMEx: the classifier replaced by the nearest class-wise k-means centroid (Gautam et al. 2024; section 3.2).

The similarity exp(-||z - p||^2) leaves float32's range beyond a squared distance of 103, so decisions are made by the
distance itself, and similarities are given as logarithms.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from xcnn.errors import UserError
from xcnn.prototypes.codebook import Codebook, classes_of, fitted, load_codebooks, save_codebooks
from xcnn.prototypes.encoder import Encoder, exact
from xcnn.prototypes.k_means import KMeans


@dataclass(frozen=True)
class NearestPrototype:
    """What KMEx says of images.

    Args:
        prototype: (N,) int64, the nearest of all prototypes.
        predicted: (N,) int64, its class.
        log_similarity: (N, K), minus the squared distances.
        embeddings: (N, D), the z that was compared.
        logits: (N, C), of the classifier that is replaced.
    """

    prototype: Tensor
    predicted: Tensor
    log_similarity: Tensor
    embeddings: Tensor
    logits: Tensor


class KMEx:
    """Prototypes of a classifier: per class, k-means on the pooled embeddings of its training images.

    Args:
        encoder: the network.
        per_class: K/C, prototypes for each class.
        normalised: cluster and compare z / ||z|| in place of z.
        seed: of k-means.

    Raises:
        UserError: fewer than one prototype for a class.
    """

    def __init__(self, encoder: Encoder, per_class: int = 5, normalised: bool = False, seed: int = 0):
        if per_class < 1:
            raise UserError(f"per_class must be at least 1, not {per_class}.")
        self.encoder, self.per_class, self.normalised, self.seed = encoder, per_class, normalised, seed
        self.codebook: Codebook | None = None

    @property
    def options(self) -> dict[str, Any]:
        return {"block": self.encoder.blocks[-1], "per_class": self.per_class, "normalised": self.normalised}

    def fit(self, images: Tensor, labels: Tensor) -> Self:
        """Prototypes of training images (N, ...) of classes (N,).

        Raises:
            UserError: a class without images or with fewer than prototypes; see also `Encoder.maps`.
        """
        members = classes_of(labels, len(images), len(self.encoder.columns), self.per_class)
        return self.fit_embeddings(self.encoder.embeddings(images), members)

    def fit_embeddings(self, embeddings: Tensor, members: list[Tensor]) -> Self:
        """Prototypes of embeddings (N, D) whose indices by class are `members`."""
        z = self._compared(embeddings)
        with exact(z):
            means = KMeans(self.per_class, seed=self.seed).fit_each([z[indices.to(z.device)] for indices in members])
        self.codebook = Codebook(
            means.centroids_.flatten(0, 1),
            self.per_class,
            type(self).__name__,
            self.encoder.identity,
            self.options,
            means.inertia_.cpu(),
            torch.tensor([len(indices) for indices in members]),
        )
        return self

    def explain(self, images: Tensor) -> NearestPrototype:
        """The nearest prototypes of images (N, ...), prepared by the encoder.

        Raises:
            UserError: nothing was fitted or loaded; see also `Encoder.maps`.
        """
        fitted(self.codebook).expect_backbone(self.encoder.identity, type(self).__name__)
        return self.explain_embeddings(self.encoder.embeddings(images))

    def explain_embeddings(self, embeddings: Tensor) -> NearestPrototype:
        """The same of embeddings (N, D)."""
        z, book = self._compared(embeddings), fitted(self.codebook)
        squared = torch.cdist(z, book.prototypes, compute_mode="donot_use_mm_for_euclid_dist").square()
        prototype = squared.argmin(1)
        return NearestPrototype(
            prototype, book.class_of[prototype], -squared, embeddings, self.encoder.logits(embeddings)
        )

    def predict(self, images: Tensor) -> Tensor:
        """Classes (N,) of images (N, ...)."""
        return self.explain(images).predicted

    def save(self, path: str | Path) -> None:
        """Write the prototypes to a `.safetensors` file."""
        save_codebooks(path, [fitted(self.codebook)])

    def load(self, path: str | Path) -> Self:
        """Take the prototypes of a file of `save`.

        Raises:
            UserError: they are of another method, backbone or options; see also `load_codebooks`.
        """
        book = load_codebooks(path, self.encoder.columns.device)[0]
        book.expect(type(self).__name__, self.encoder.identity, self.options, str(path))
        self.codebook = book
        return self

    def _compared(self, embeddings: Tensor) -> Tensor:
        return F.normalize(embeddings, dim=1) if self.normalised else embeddings
