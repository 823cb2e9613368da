"""Pixel Ablation-CAM, section 4.1.1: why a fifth of the pixels, and not more or fewer.

Paper:      Samanta et al. 2025, section 4.1.1.
Command:    make pixel-ablation-cam-fractions
Reports:    that "the top 20% of pixels from the localisation map should be kept", by "empirical testing" of which it
            prints nothing.
Cost:       8 passes of ResNet-50 an image and method: 15 minutes for 6 methods and 300 images on two CPU cores
            (float32), 2 GB.
Deviations: the paper does not say by what a share is judged. Measured is what table 1 measures, with black around what
            is kept, for seven shares. Networks and images are those of our table 1.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from experiments.pixel_ablation_cam.comparisons import CONTROLS, PIXEL, curve_of
from xcnn.evaluation.faithfulness import measure_faithfulness, pool_faithfulness
from xcnn.figures import curves_plot
from xcnn.launch import Setup, launch
from xcnn.launch.titles import titled
from xcnn.metrics.faithfulness import Protocol
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary, claim
from xcnn.report.shards import side_by_side

NAMED = ("grad_cam", "ablation_cam", PIXEL)
FILL = "black"
PANELS = {"drop_confidence": "average drop of confidence, %", "increase_confidence": "increase of confidence, %"}
PAPERS = 0.2


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    subject = setup.explained()
    kept = [Protocol("top_fraction", FILL, share, f"{share:.0%}") for share in options.fractions]
    return measure_faithfulness(cell, subject, setup.attribution(subject), kept, options.chunk)


def pool(rows: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, float]]:
    return pool_faithfulness(rows, compared=NAMED, references=("random", "grad_cam"))


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    networks, drawings, claims = [], {}, []
    for place, group in side_by_side(rows).items():
        by_method = {row.method: row for row in group}
        shares: list[float] = group[0].settings["fractions"]
        file = f"fractions-{place}.png"
        drawings[file] = curves_plot(
            {
                title: {
                    titled(row.method): curve_of(row, [f"{metric}/{share:.0%}-{FILL}" for share in shares], shares)
                    for row in group
                    if row.method != "centre"
                }
                for metric, title in PANELS.items()
            },
            y_label="%",
            title=f"{titled(group[0].model)}, {group[0].records[0]['n']} images",
            control=titled("random"),
        )
        claims += [claim(group, drop(share), PIXEL, "grad_cam", "lower", counts=share == PAPERS) for share in shares]
        networks.append({"methods": by_method, "file": file, "shares": shares, **_facts(by_method, shares)})
    columns = [
        Column(drop(share), f"drop, {100 * share:.0f} % kept", 1)
        for share in (networks[0]["shares"] if networks else [])
    ]
    facts = {"networks": networks, "drop": drop, "paper": PAPERS, "claim_digits": 1}
    title = "Pixel Ablation-CAM, section 4.1.1: the share of the pixels"
    return Summary(title, columns=columns, drawings=drawings, claims=claims, facts=facts, verdict="not comparable")


def drop(share: float) -> str:
    """The metric of a share."""
    return f"drop_confidence/{share:.0%}-{FILL}"


def _facts(methods: Mapping[str, Row], shares: Sequence[float]) -> dict[str, Any]:
    """What could single out a share, by method: where the drop is lowest, and where the random map's is farthest above.

    `blind` names, by share, the controls that lose no more than Pixel Ablation-CAM.
    """
    lowest, farthest = {}, {}
    for name, row in methods.items():
        drops = [row.mean[drop(share)] for share in shares]
        lowest[name] = shares[drops.index(min(drops))]
        if "random" in methods and name != "random":
            above = [methods["random"].mean[drop(share)] - value for share, value in zip(shares, drops, strict=True)]
            farthest[name] = shares[above.index(max(above))]
    blind = {
        share: [
            name
            for name in CONTROLS
            if {name, PIXEL} <= methods.keys() and methods[name].mean[drop(share)] <= methods[PIXEL].mean[drop(share)]
        ]
        for share in shares
    }
    return {"lowest": lowest, "farthest": farthest, "blind": blind}


if __name__ == "__main__":
    launch(__file__, measure, summarise, pool=pool)
