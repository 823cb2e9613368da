"""Pixel Ablation-CAM, section 4.5: do the maps of earlier layers explain better, worse, or alike?

Paper:      Samanta et al. 2025, section 4.5.
Command:    make pixel-ablation-cam-layers
Reports:    no number: earlier layers cost more "with little additional interpretative benefits". What they cost is in
            section 4.5's own page (make pixel-ablation-cam-complexity).
Cost:       10 cells of 200 images of ResNet-50: a pass an image, and 42 for a quarter of the images; Pixel Ablation-CAM
            besides 4 passes an image at layer3 and 125 at layer2: about 70 minutes on two CPU cores (float32), 4 GB.
Deviations: the paper does not say by what it judged. Measured is what localisation measures: boxes, insertion, deletion
            and ROAD. Network and images are those of our table 1.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from experiments.pixel_ablation_cam.comparisons import PIXEL, Better
from experiments.pixel_ablation_cam.localisation import measure
from experiments.pixel_ablation_cam.localisation_page import BOXES, PERTURBED, TITLES, curves_of, with_counts
from xcnn.evaluation.localisation import pool_localisation
from xcnn.figures import curves_plot
from xcnn.launch import launch
from xcnn.launch.compose import compose
from xcnn.launch.titles import titled
from xcnn.report import Column, PaperNumber, Row, Summary, claim
from xcnn.report.shards import side_by_side

METHODS = (PIXEL, "grad_cam", "activation_sum")
EARLIER = ("layer3", "layer2")
JUDGED: dict[str, Better] = {
    **{metric: BOXES[metric] for metric in ("pointing", "energy", "iou", "localised")},
    **PERTURBED,
}


def pool(rows: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, float]]:
    return pool_localisation(rows, references=METHODS)


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    drawings, claims, networks = {}, [], []
    drawn: Sequence[str] = compose("pixel_ablation_cam/layers").curves
    for place, group in side_by_side(rows).items():
        group = [with_counts(row) for row in group]
        if all(row.method != PIXEL for row in group):  # the last layer, with which all is compared, is yet to come
            continue
        file = f"layers-curves-{place}.png"
        drawings[file] = curves_plot(
            curves_of(group, drawn),
            title=f"{titled(group[0].model)}, {group[0].mean['perturbed']:.0f} images",
            control=titled("random"),
        )
        earlier = [f"{PIXEL}_{layer}" for layer in EARLIER if any(row.method == f"{PIXEL}_{layer}" for row in group)]
        # "Little additional benefit": the last layer is at least as good.
        claims += [
            claim(group, metric, method, PIXEL, "lower" if better == "higher" else "higher")
            for method in earlier
            for metric, better in JUDGED.items()
        ]
        networks.append({"methods": {row.method: row for row in group}, "file": file, "earlier": earlier})
    columns = [Column(metric, TITLES[metric]) for metric in JUDGED]
    facts = {"networks": networks, "judged": JUDGED, "pixel": PIXEL, "claim_digits": 3}
    title = "Pixel Ablation-CAM, section 4.5: earlier layers"
    return Summary(title, columns=columns, drawings=drawings, claims=claims, facts=facts)


if __name__ == "__main__":
    launch(__file__, measure, summarise, pool=pool)
