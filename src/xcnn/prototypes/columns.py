"""The classifier's own columns as prototypes (Boubekki & Clemmensen 2026, theorem 1).

With dot products as similarities and their average over locations as projection, a network that averages and then
classifies linearly is a self-explainable model whose prototypes are the columns c_j: y_j = mean of h_r . c_j (eq. 5).
"""

from typing import Any

import torch
from torch import Tensor

from xcnn.prototypes.codebook import Codebook
from xcnn.prototypes.encoder import Encoder, exact


class Columns:
    """A network as it is, in the interface of those that replace its classifier; nothing is fitted.

    Args:
        encoder: the network.
    """

    def __init__(self, encoder: Encoder):
        self.encoder = encoder

    @property
    def options(self) -> dict[str, Any]:
        return {"block": self.encoder.blocks[-1], "per_class": 1}

    @property
    def codebook(self) -> Codebook:
        """The columns, one for each class; no rows were clustered for them."""
        n_classes = len(self.encoder.columns)
        return Codebook(
            self.encoder.columns,
            1,
            type(self).__name__,
            self.encoder.identity,
            self.options,
            torch.zeros(n_classes, dtype=torch.float64),
            torch.zeros(n_classes, dtype=torch.int64),
        )

    def similarities(self, images: Tensor) -> Tensor:
        """h_r . c_j at each location of the last block (N, C, h, w); y_j is their mean over locations, plus a bias."""
        columns, parts = self.encoder.columns, []
        for batch in self.encoder.batches(images):
            maps = self.encoder.maps(batch)[-1]
            with exact(columns):
                parts.append(torch.einsum("ndhw,cd->nchw", maps, columns))
        return torch.cat(parts)

    def predict(self, images: Tensor) -> Tensor:
        """The network's classes (N,) of images (N, ...)."""
        return self.encoder.logits(self.encoder.embeddings(images)).argmax(1)
