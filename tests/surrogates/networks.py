"""A subject whose decisions are known: the brighter channel of two, by the means of two feature maps."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


class ByChannel(nn.Module):
    """Images (N, 3, H, W) to the logits of three classes: the mean of each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 3, 1, bias=False)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.last = nn.Linear(3, 3)
        with torch.no_grad():
            self.features.weight.copy_(torch.eye(3)[:, :, None, None])
            self.last.weight.copy_(torch.eye(3))
            self.last.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.pool(self.features(images)).flatten(1))


@dataclass
class Known:
    """A subject as a surrogate needs it."""

    network: nn.Module = field(default_factory=lambda: ByChannel().eval())
    classes: Sequence[str] = ("red", "green", "blue")
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    batch: int = 7
    method: Any = None

    def prepare(self, images: Tensor) -> Tensor:
        return images.float() / 255

    def autocast(self) -> torch.autocast:
        return torch.autocast("cpu", enabled=False)


def images(n: int, seed: int = 0) -> Tensor:
    """Bytes (n, 3, 4, 4), of even colours."""
    generator = torch.Generator().manual_seed(seed)
    colours = torch.randint(0, 256, (n, 3, 1, 1), generator=generator)
    return colours.expand(n, 3, 4, 4).to(torch.uint8).contiguous()
