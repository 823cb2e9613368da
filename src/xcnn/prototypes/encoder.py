"""The network as blocks, an average and a classifier (Boubekki & Clemmensen 2026, eqs. 1 and 6)."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from xcnn.device import at_least_float32
from xcnn.errors import UserError
from xcnn.models.split import split_along
from xcnn.models.weights import weights_hash


class Encoder:
    """The outputs of a network's blocks, and what its classifier says of the last of them.

    The network is never changed: same mode, hooks, gradients and weights after as before. Weights that are updated in
    place later, or moved, are seen.

    Args:
        network: images to logits, through `blocks`, global average pooling and one linear layer; biases are allowed
            (the paper omits them), dropout is not active.
        blocks: names of layers in the order of the forward pass, the last one being followed by the pooling.
        prepare: images as they are handed in to the network's input, e.g. bytes to normalised floats; None leaves them.
        batch: images that go through the network at a time.

    Raises:
        UserError: there is no such block (lists those there are), or the last is not followed by pooling and a linear
            layer.
    """

    def __init__(
        self,
        network: nn.Module,
        blocks: Sequence[str] = ("layer4",),
        prepare: Callable[[Tensor], Tensor] | None = None,
        batch: int = 256,
    ):
        if not blocks:
            raise UserError("blocks is empty: name at least the block before the pooling.")
        if batch < 1:
            raise UserError(f"batch must be at least 1, not {batch}.")
        self.network, self.blocks, self.prepare, self.batch = network, tuple(blocks), prepare, batch
        self._trunk, self._split = split_along(network, self.blocks)
        self._state: list[tuple[int, int]] = []  # of the weights that the two below were formed of
        self._affine: tuple[Tensor, Tensor] | None = None
        self._identity: str | None = None
        self._classifier()

    @property
    def columns(self) -> Tensor:
        """The columns c_j (C, D) of the classifier behind the pooling, in float32 at least."""
        return self._classifier()[0]

    @property
    def bias(self) -> Tensor:
        """Its bias (C,)."""
        return self._classifier()[1]

    @property
    def identity(self) -> str:
        """Which backbone this is: a hash of its weights. Prototypes of another one mean nothing here."""
        self._classifier()
        if self._identity is None:
            self._identity = weights_hash(self.network)
        return self._identity

    def _classifier(self) -> tuple[Tensor, Tensor]:
        """Columns and bias, formed anew where a weight was replaced or changed in place since."""
        tensors = (*self.network.parameters(), *self.network.buffers())
        state = [(x.data_ptr(), 0 if x.is_inference() else x._version) for x in tensors]
        if self._affine is None or state != self._state:
            with exact(tensors[0]):
                self._affine = self._read_classifier()
            self._identity, self._state = None, state
        return self._affine

    def _read_classifier(self) -> tuple[Tensor, Tensor]:
        """Columns and bias, as the head after the last block has them."""
        last = self.blocks[-1]
        linear = [module for module in self.network.modules() if isinstance(module, nn.Linear)]
        if not linear:
            raise UserError(_not_pooled(last))
        try:
            weight, bias = self._split.affine_weight((linear[-1].in_features, 2, 2))
        except (UserError, RuntimeError) as error:
            raise UserError(_not_pooled(last)) from error
        columns = weight.sum((2, 3))
        if (weight - columns[:, :, None, None] / 4).abs().max() > 1e-5 * weight.abs().max():
            raise UserError(_not_pooled(last))
        return at_least_float32(columns.detach()), at_least_float32(bias.detach())

    @torch.no_grad()
    def maps(self, images: Tensor) -> tuple[Tensor, ...]:
        """The outputs of the blocks, (N, D_b, h_b, w_b) each, in one pass of the network.

        Under the caller's autocast the network runs in its precision; the maps come in the weights' own, and in float32
        where that is less.

        Raises:
            UserError: a map has NaN or infinity (says of which images).
        """
        dtype = self.columns.dtype
        found = tuple(maps.to(dtype) for maps in self._trunk(images if self.prepare is None else self.prepare(images)))
        for block, maps in zip(self.blocks, found, strict=True):
            if maps.ndim != 4:
                raise UserError(f"block {block!r} gives {tuple(maps.shape)}, not maps (N, D, h, w).")
            if not maps.isfinite().all():
                broken = (~maps.isfinite().flatten(1).all(1)).nonzero()[:10, 0].tolist()
                raise UserError(
                    f"NaN or infinity in block {block!r} for image(s) {', '.join(map(str, broken))} of the batch. Look "
                    "at those images, the weights and the precision."
                )
        return found

    def batches(self, images: Tensor) -> Iterator[Tensor]:
        """The images (N, ...) in parts of at most `batch`, on the network's device."""
        for part in images.split(self.batch):
            yield part.to(self.columns.device)

    def embeddings(self, images: Tensor) -> Tensor:
        """z, the average over locations of the last block's maps (eq. 2): (N, D)."""
        parts = [self.maps(part)[-1].mean((2, 3)) for part in self.batches(images)]
        return torch.cat(parts) if parts else self.columns.new_empty(0, self.columns.shape[1])

    def logits(self, embeddings: Tensor) -> Tensor:
        """The classifier's logits (N, C) of embeddings (N, D), eq. 2; biases included."""
        with exact(embeddings):
            return embeddings @ self.columns.T + self.bias


def exact(values: Tensor) -> torch.autocast:
    """Without the caller's autocast: what is computed of maps is computed in their precision."""
    return torch.autocast(values.device.type, enabled=False)


def _not_pooled(layer: str) -> str:
    return (
        f"prototypes need a network that averages the maps of its last block and classifies the average by one linear "
        f"layer; what follows {layer!r} is something else. Name the block before the pooling, or use another network."
    )
