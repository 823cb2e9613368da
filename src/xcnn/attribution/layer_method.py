"""Attribution methods that explain the logits by the features at a layer."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from xcnn.attribution.batch import Batch
from xcnn.attribution.method import Method, Targets, _checked, checked_chunk
from xcnn.attribution.probe import Probe
from xcnn.device import at_least_float32, full_precision
from xcnn.errors import UserError
from xcnn.models.channelwise import channelwise_prefix
from xcnn.models.graph import Incremental
from xcnn.models.split import split_at


class LayerMethod(Method):
    """A method whose maps come from the features at a layer; it implements `attribute`.

    Args:
        model: network from images (N, C, H, W) to logits (N, classes).
        layer: qualified name of a layer that one tensor cuts.
        chunk: number of ablations that go through the head at a time; None fits the free memory.

    Attributes:
        split: the network cut at the layer.
        channelwise: the channelwise prefix of the head, if it has one.
        incremental: incremental inference from the layer on, for ablations that no prefix answers; set to None, the
            head runs on each of them.

    Raises:
        UserError: the network cannot be cut there (names the nearest layers that can be).
    """

    uses_gradient: ClassVar[bool] = False  # whether `attribute` reads the probe's gradient

    def __init__(self, model: nn.Module, layer: str, chunk: int | None = None):
        super().__init__(model)
        self.layer, self.chunk = layer, checked_chunk(chunk)
        self.split = split_at(model, layer)
        self.channelwise = channelwise_prefix(self.split)
        self.incremental: Incremental | None = Incremental(self.split.network, self.split.cut)

    @abstractmethod
    def attribute(self, probe: Probe) -> Tensor:
        """Maps (N, h, w) of the probe's images for its targets; called without gradients and autocast."""

    def maps(self, batch: Batch) -> Tensor:
        assert isinstance(batch, Probe)
        return self.attribute(batch)

    def logits(self, images: Tensor) -> Tensor:
        features = self._features(images)
        with full_precision(images.device):
            return self.split.head(features)

    def _batch(self, images: Tensor, targets: Targets = None) -> Probe:
        return self.probe(images, targets)

    def probe(self, images: Tensor, targets: Targets = None) -> Probe:
        """The images at the cut, with everything checked.

        Under the caller's autocast the trunk runs in its precision, and all that follows in the weights' own: an
        ablation takes little from a score, and half precisions would lose it.

        Raises:
            UserError: as for `explain`.
        """
        chosen = _checked(images, targets)
        features = self._features(images)
        if features.ndim != 4:
            raise UserError(
                f"layer {self.layer!r} gives {tuple(features.shape)}, not maps (N, K, h, w): cut before the pooling."
            )
        with full_precision(images.device):
            probe = Probe(
                self.split, self.channelwise, images, features, self.incremental, self.uses_gradient, self.chunk
            )
        finite = probe.logits.isfinite().flatten(1).all(1) & features.isfinite().flatten(1).all(1)
        self._set_targets(probe, chosen, finite, f"the activations at {self.layer!r} or in the logits")
        return probe

    def _features(self, images: Tensor) -> Tensor:
        with torch.inference_mode(False), torch.no_grad():
            features = self.split.trunk(images)
            if torch.is_autocast_enabled(images.device.type):
                features = features.to(next(self.split.root.parameters(), at_least_float32(features)).dtype)
            return features.clone() if features.is_inference() else features

    def _place(self) -> str:
        return f" at layer {self.layer!r}"
