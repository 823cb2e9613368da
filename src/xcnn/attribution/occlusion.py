"""Occlusion (Zeiler & Fergus 2014), by incremental inference."""

import torch
from torch import Tensor, nn

from xcnn.attribution.batch import Batch
from xcnn.attribution.black_box_method import BlackBoxMethod
from xcnn.attribution.input_method import fitting
from xcnn.device import at_least_float32
from xcnn.errors import UserError
from xcnn.models.graph import Change, Incremental, TracedNetwork, patch_change

WINDOWS = 4096  # whose changes of all classes are held at a time


class Occlusion(BlackBoxMethod):
    """Y - Y_w, the drop of the target's logit when a gray window w covers a part of the image.

    A pixel has the mean drop of all windows that cover it. Windows start at every multiple of the stride, and the last
    ones at the border. A window's change is carried through its receptive field alone (`models.graph.incremental`),
    which is exact; all else is computed once for each image.

    Args:
        window: side of the window in pixels.
        stride: pixels from one window to the next, at most `window`.
        value: value of the window's pixels; 0 is the mean colour of normalised images.
        model: as for `BlackBoxMethod`.
        chunk: number of windows at a time; None fits the free memory.

    Attributes:
        incremental: incremental inference from the images on; None where `torch.fx` cannot trace the network, or set to
            None: the network then runs on every occluded image.
    """

    def __init__(self, model: nn.Module, window: int, stride: int, value: float = 0.0, chunk: int | None = None):
        super().__init__(model, chunk)
        if window < 1 or not 1 <= stride <= window:
            raise UserError(
                f"window is {window} and stride {stride}; give a window of at least 1 pixel and a stride of 1 to "
                "window, so that every pixel is covered."
            )
        self.window, self.stride, self.value = window, stride, value
        self.incremental: Incremental | None = None
        try:
            network = TracedNetwork(model)
        except UserError:
            return
        self.incremental = Incremental(network, network.placeholder)

    def maps(self, batch: Batch) -> Tensor:
        images = batch.images
        rows, columns = (self._starts(side, images.device) for side in images.shape[2:])
        batch.ablations += len(rows) * len(columns)
        size = fitting(images)
        drops = [
            self._drops(images[i : i + size], batch.targets[i : i + size], rows, columns)
            for i in range(0, max(1, len(images)), size)
        ]
        down, across = (self._covered(*each) for each in ((rows, images.shape[2]), (columns, images.shape[3])))
        total = down.to(drops[0]) @ torch.cat(drops) @ across.to(drops[0]).t()
        return total / (down.sum(1)[:, None] * across.sum(1))

    def _starts(self, side: int, device: torch.device) -> Tensor:
        """Where windows start along a side of the image."""
        last = side - self.window
        if last < 0:
            raise UserError(f"the window of {self.window} pixels is larger than the image, whose side is {side}.")
        return torch.tensor([*range(0, last, self.stride), last], device=device)

    def _covered(self, starts: Tensor, side: int) -> Tensor:
        """Whether each pixel along a side lies in each window, (side, windows)."""
        pixel = torch.arange(side, device=starts.device)[:, None]
        return (pixel >= starts) & (pixel < starts + self.window)

    def _drops(self, images: Tensor, targets: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Y - Y_w of the windows, (N, rows, columns)."""
        n, places = len(images), torch.cartesian_prod(rows, columns).view(-1, 2)
        image = torch.arange(n, device=images.device).repeat_interleave(len(places))
        top, left = places.repeat(n, 1).unbind(1)
        if not n:
            drops = images.new_zeros(0)
        elif self.incremental is not None:
            drops = self._carried(self.incremental, images, image, top, left, targets)
        else:
            drops = self._each(images, image, top, left, targets)
        return drops.view(n, len(rows), len(columns))

    def _carried(
        self, incremental: Incremental, images: Tensor, image: Tensor, top: Tensor, left: Tensor, targets: Tensor
    ) -> Tensor:
        """Drops (P,) of windows of images, given by index and corner, by incremental inference."""
        propagation = incremental.base(images)
        gray = images.new_full((1, images.shape[1], self.window, self.window), self.value)
        drops = []
        for some in torch.arange(len(image), device=image.device).split(WINDOWS):

            def covered(part: slice, some: Tensor = some) -> Change:
                which = some[part]
                return patch_change(images, image[which], top[which], left[which], gray.expand(len(which), -1, -1, -1))

            deltas = at_least_float32(propagation.deltas(len(some), covered, self.chunk))
            drops.append(-deltas.gather(1, targets[image[some], None])[:, 0])
        return torch.cat(drops)

    def _each(self, images: Tensor, image: Tensor, top: Tensor, left: Tensor, targets: Tensor) -> Tensor:
        """The same by running the network on each occluded image."""
        scores = at_least_float32(self.network(images.clone())).gather(1, targets[:, None])[:, 0]

        def occluded(part: slice) -> Tensor:
            down, across = (
                self._covered(*each).t() for each in ((top[part], images.shape[2]), (left[part], images.shape[3]))
            )
            return images[image[part]].masked_fill_(down[:, None, :, None] & across[:, None, None], self.value)

        def drop(logits: Tensor, part: slice) -> Tensor:
            which = image[part]
            return scores[which] - at_least_float32(logits).gather(1, targets[which, None])[:, 0]

        return self.altered(len(image), occluded, drop)
