"""Drops under ablation beside gradient times activation, unit by unit: what a saturated gradient hides."""

import pandas as pd
import torch
from torch import Tensor, nn

from xcnn.attribution import LayerMethod
from xcnn.attribution.probe import Probe
from xcnn.data.pictures import PictureBatch
from xcnn.evaluation.gallery import correlation
from xcnn.evaluation.image_rows import Columns, image_rows
from xcnn.evaluation.subject import Subject
from xcnn.metrics.saturation import accounted, hidden_share
from xcnn.report.cells import Cell

UNITS = ("channel", "location")


class LevelledSum(nn.Module):
    """min(sum of the activations, 1): its gradient is zero wherever the sum is above 1."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        total = self.layer(images).flatten(1).sum(1, keepdim=True).clamp(max=1)
        return torch.cat([total, torch.zeros_like(total)], 1)


def saturation_rows(cell: Cell, subject: Subject, method: LayerMethod, below: float, chunk: int) -> pd.DataFrame:
    """A row for each image that could be read: score, and by unit `hidden`, `accounted` and `correlation`.

    Args:
        method: a method at the layer; its score is what the units are ablated for.
        below: the share of its drop below which a unit's gradient times activation counts as hidden.
        chunk: number of images whose rows a kill can cost.
    """

    @torch.inference_mode()
    def columns(batch: PictureBatch) -> Columns:
        probe = method.probe(subject.normalise(subject.scaled(batch)))
        found = {"score": probe.score}
        for unit, (drops, products) in units(probe).items():
            found |= {
                f"hidden/{unit}": hidden_share(drops, products, below),
                f"accounted/{unit}": accounted(drops, products),
                f"correlation/{unit}": correlation(drops, products),
            }
        return found

    rows = image_rows(cell, subject, chunk, columns)
    return rows[~rows["broken"]]


def units(probe: Probe) -> dict[str, tuple[Tensor, Tensor]]:
    """Drops under ablation, and gradient times activation, by unit: (N, units) each."""
    with torch.inference_mode(False):
        products = (probe.gradient * probe.features).double()
    return {
        "channel": (probe.channel_drops().double(), products.sum((2, 3))),
        "location": (probe.location_drops().flatten(1).double(), products.sum(1).flatten(1)),
    }
