"""What explains a trained network's classes by prototypes afterwards, as an interface."""

from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from xcnn.prototypes.codebook import Codebook
from xcnn.prototypes.encoder import Encoder


class Posthoc(Protocol):
    """`KMEx`, `EncoderExplanation`, or a method of one's own.

    What `explain` gives has `predicted` and `logits`, and `tied` where classes may have as many votes.
    """

    encoder: Encoder

    @property
    def codebook(self) -> Codebook | None: ...
    def fit(self, images: Tensor, labels: Tensor) -> "Posthoc": ...
    def explain(self, images: Tensor) -> Any: ...
    def save(self, path: str | Path) -> None: ...
    def load(self, path: str | Path) -> "Posthoc": ...
