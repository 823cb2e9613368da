"""White-box survey, section 7: which maps are like which, and is FEM's most like Grad-CAM's?

Paper:      Ayyar et al. 2021, section 7, after Fuad et al. 2020.
Command:    make white-box-similarity
Reports:    among gradient-based methods, Grad-CAM's maps are the most similar to FEM's, by Pearson's correlation and
            L1-similarity (SIM); no number. Fuad et al. print a correlation of 0.70, for a 3-D network on video.
Cost:       a map of each method and two of the references: on one CPU core 0.4 to 1 s an image of ImageNet and method
            with ResNet-50, 7 s for integrated gradients, 9 s for SmoothGrad; minutes on shapes. Maps are kept, 100 kB.
Deviations: the survey names no data. ImageNet photographs (1,000 for eight methods of fewer than five passes and the
            centre, 200 for all), Imagenette with VGG-16, drawn shapes. Of signed maps the positive part counts.
            LRP-epsilon without biases has no row on ResNet-50: its layers' factors leave float32's range; status 1.
"""

from collections.abc import Mapping, Sequence
from math import nan

import pandas as pd

from experiments.white_box.families import DRAWN_DATA, GRADIENTS, claims_between
from xcnn.evaluation.similarity import BLURRED, PIXELS, measure_similarity, pool_similarity
from xcnn.figures import heat_tables
from xcnn.launch import Setup, launch
from xcnn.launch.titles import titled
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary
from xcnn.report.shards import side_by_side

COMPARED = ("pcc_fem", "sim_fem")
MEASURES = ("pcc", "sim", "kl", "auc", "nss", "iou", "dice")


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    subject = setup.explained()
    references = setup.attributions(subject, options.references)
    return measure_similarity(
        cell, subject, setup.attribution(subject), references, options.references[0], options.share, options.chunk
    )


def pool(rows: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, float]]:
    return pool_similarity(rows, reference="grad_cam")


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    drawings, claims, networks, compared = {}, [], [], set()
    for place, group in side_by_side(rows).items():  # the most images first
        file = f"similarity-pairs-{place}.png"
        names = [f"{titled(row.method)}, {number}" for number, row in enumerate(group, 1)]
        panels = {each: _pairs(group, each) for each in (PIXELS, BLURRED)}
        numbers = list(range(1, len(group) + 1))
        drawings[file] = heat_tables(panels, names, numbers, "", "", "100 PCC", ".0f", vmin=-20, vmax=100, abreast=1)
        metrics = [f"{metric}/{each}" for metric in COMPARED for each in (PIXELS, BLURRED)]
        nearest = {metric: ranked for metric in metrics if (ranked := _nearest(group, metric))}
        leaders: dict[str, list[str]] = {}
        for metric, ranked in nearest.items():  # against the nearest of the others: then against all
            leaders.setdefault(ranked[0].method, []).append(metric)
            rivals = [row.method for row in ranked if row.method != "grad_cam"][:1]
            pair = (group[0].dataset, group[0].model, metric, *rivals)
            counts = group[0].dataset != DRAWN_DATA and pair not in compared
            claims += claims_between(group, [metric], rivals, ["grad_cam"], "lower", counts=counts)
            compared.add(pair)
        centre = next((row for row in group if row.method == "centre"), None)
        networks.append({"rows": group, "file": file, "nearest": nearest, "leaders": leaders, "centre": centre})
    columns = [Column(f"{metric}/{each}", f"{metric}, {each}", 2) for metric in COMPARED for each in (PIXELS, BLURRED)]
    facts = {"networks": networks, "measures": MEASURES, "claim_digits": 3, "gradients": GRADIENTS}
    return Summary("White-box survey: similarity", columns=columns, drawings=drawings, claims=claims, facts=facts)


def _pairs(group: Sequence[Row], resolution: str) -> list[list[float]]:
    """PCC of every two methods, in hundredths."""
    return [[100 * row.mean.get(f"pair_{resolution}/{other.method}", nan) for other in group] for row in group]


def _nearest(group: Sequence[Row], metric: str) -> list[Row]:
    """The gradient-based methods, from the most similar to FEM."""
    return sorted((row for row in group if row.method in GRADIENTS), key=lambda row: -row.mean[metric])


if __name__ == "__main__":
    launch(__file__, measure, summarise, pool=pool)
