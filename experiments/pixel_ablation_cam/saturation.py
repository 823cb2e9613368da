"""Pixel Ablation-CAM, sections 1 and 5: do saturated gradients hide what ablations show?

Paper:      Samanta et al. 2025, sections 1, 2 and 5.
Command:    make pixel-ablation-cam-saturation
Reports:    no number: that Grad-CAM and Grad-CAM++ are "prone to gradient saturation", which ablation resolves.
Cost:       ResNet-50 at layer4 and VGG-16 a few passes an image; at layer3 a pass for each eighth channel: 15 minutes
            on a CPU core (float32), 3 GB.
Deviations: the paper neither defines saturation nor measures it. Measured is, unit by unit, gradient times activation
            against the drop when the unit is set to zero, for channels (Ablation-CAM's units) and locations (Pixel
            Ablation-CAM's); and two networks of one saturated sum show what can happen.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from xcnn.attribution import PixelAblationCAM
from xcnn.attribution.probe import Probe
from xcnn.data.pictures import PictureBatch
from xcnn.evaluation.gallery import correlation
from xcnn.evaluation.image_rows import Columns, image_rows, with_intervals
from xcnn.launch import Setup, launch
from xcnn.launch.titles import titled
from xcnn.metrics.saturation import accounted, hidden_share
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary

UNITS = ("channel", "location")
CONSTRUCTED = {"one cause": (2.0, 0.0), "two causes": (2.0, 2.0)}  # activations, of which the score needs 1


class LevelledSum(nn.Module):
    """min(sum of the activations, 1): its gradient is zero wherever the sum is above 1."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        total = self.layer(images).flatten(1).sum(1, keepdim=True).clamp(max=1)
        return torch.cat([total, torch.zeros_like(total)], 1)


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    subject = setup.explained()
    network = subject.network if options.score == "logit" else nn.Sequential(subject.network, nn.Softmax(1))
    method = PixelAblationCAM(network, options.layer if options.score == "logit" else f"0.{options.layer}")

    @torch.inference_mode()
    def columns(batch: PictureBatch) -> Columns:
        probe = method.probe(subject.normalise(subject.scaled(batch)))
        found = {"score": probe.score}
        for unit, (drops, products) in units(probe).items():
            found |= {
                f"hidden/{unit}": hidden_share(drops, products, options.below),
                f"accounted/{unit}": accounted(drops, products),
                f"correlation/{unit}": correlation(drops, products),
            }
        return found

    rows = image_rows(cell, subject, options.chunk, columns)
    rows = rows[~rows["broken"]]
    values = with_intervals(rows.drop(columns=["broken", "id", "label"]))
    constructed = {
        name: units(PixelAblationCAM(LevelledSum(), "layer").probe(torch.tensor([[[activations]]])))["location"]
        for name, activations in CONSTRUCTED.items()
    }
    details = {
        "layer": options.layer,
        "constructed": {
            name: {"drops": (drops[0] + 0.0).tolist(), "products": (products[0] + 0.0).tolist()}  # no -0.0
            for name, (drops, products) in constructed.items()
        },
    }
    return subject.measured(values, len(rows), details=details)


def units(probe: Probe) -> dict[str, tuple[Tensor, Tensor]]:
    """Drops under ablation, and gradient times activation, by unit: (N, units) each."""
    with torch.inference_mode(False):
        products = (probe.gradient * probe.features).double()
    return {
        "channel": (probe.channel_drops().double(), products.sum((2, 3))),
        "location": (probe.location_drops().flatten(1).double(), products.sum(1).flatten(1)),
    }


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    columns = [Column(f"{metric}/{unit}", f"{metric}, {unit}s") for metric in ("hidden", "accounted") for unit in UNITS]
    facts = {
        "units": UNITS,
        "layer": lambda row: row.records[0]["details"]["layer"],
        "constructed": rows[0].records[0]["details"]["constructed"] if rows else {},
        "label": lambda row: f"{titled(row.model)}, {row.records[0]['details']['layer']}, {titled(row.method)}",
    }
    title = "Pixel Ablation-CAM: saturated gradients"
    return Summary(title, columns=columns, facts=facts, verdict="not comparable")


if __name__ == "__main__":
    launch(__file__, measure, summarise)
