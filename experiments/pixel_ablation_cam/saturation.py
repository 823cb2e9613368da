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
from torch import nn

from xcnn.attribution import PixelAblationCAM
from xcnn.evaluation.image_rows import with_intervals
from xcnn.evaluation.saturation import UNITS, LevelledSum, saturation_rows, units
from xcnn.launch import Setup, launch
from xcnn.launch.titles import titled
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary

CONSTRUCTED = {"one cause": (2.0, 0.0), "two causes": (2.0, 2.0)}  # activations, of which the score needs 1


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    subject = setup.explained()
    network = subject.network if options.score == "logit" else nn.Sequential(subject.network, nn.Softmax(1))
    method = PixelAblationCAM(network, options.layer if options.score == "logit" else f"0.{options.layer}")

    rows = saturation_rows(cell, subject, method, options.below, options.chunk)
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


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    columns = [Column(f"{metric}/{unit}", f"{metric}, {unit}s") for metric in ("hidden", "accounted") for unit in UNITS]
    facts = {
        "units": UNITS,
        "layer": lambda row: row.details["layer"],
        "constructed": rows[0].details["constructed"] if rows else {},
        "label": lambda row: f"{titled(row.model)}, {row.records[0]['details']['layer']}, {titled(row.method)}",
    }
    title = "Pixel Ablation-CAM: saturated gradients"
    return Summary(title, columns=columns, facts=facts, verdict="not comparable")


if __name__ == "__main__":
    launch(__file__, measure, summarise)
