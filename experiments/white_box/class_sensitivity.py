"""White-box survey: does a map depend on the class that it is to explain?

Paper:      Ayyar et al. 2021; not in the survey (Nie et al. 2018, Sixt et al. 2020).
Command:    make white-box-class-sensitivity
Reports:    nothing; that guided backpropagation and DeconvNet hardly depend on the class was found elsewhere.
Cost:       three maps of each method: on one CPU core (float32) 18 s an image of ImageNet with ResNet-50 for all but
            SmoothGrad and integrated gradients, 38 s for these two; minutes on shapes.
Deviations: the survey does not ask. Cosine, correlation and rank correlation of the maps as the methods give them,
            between the class predicted and the second and the last of the logits.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from experiments.white_box.families import CONTROLS, methods_plot
from xcnn.evaluation.class_sensitivity import measure_class_sensitivity
from xcnn.evaluation.image_rows import pool_metrics
from xcnn.launch import Setup, launch
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary
from xcnn.report.shards import side_by_side

METRICS = {"cosine": "cosine", "pcc": "PCC", "rank_correlation": "rank correlation"}
PLACES = {"second": "the runner-up", "lowest": "the least likely class"}


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    subject = setup.explained()
    return measure_class_sensitivity(cell, subject, setup.attribution(subject), options.places, options.chunk)


def pool(rows: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, float]]:
    return pool_metrics(rows, references=["gradient"])


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    drawings, networks = {}, []
    for place, group in side_by_side(rows).items():
        file = f"class_sensitivity-{place}.png"
        titles = {f"{metric}/lowest": f"{title}, {PLACES['lowest']}" for metric, title in METRICS.items()}
        drawings[file] = methods_plot(group, titles)
        methods = [row for row in group if row.method not in CONTROLS]
        ranked = sorted(methods, key=lambda row: -abs(row.mean["pcc/lowest"]))  # -1 is the same map, its sign turned
        networks.append({"rows": group, "file": file, "ranked": ranked})
    columns = [
        Column(f"{metric}/{place}", f"{title}, {place}") for metric, title in METRICS.items() for place in PLACES
    ]
    facts = {"networks": networks, "metrics": METRICS, "places": PLACES}
    title = "White-box survey: sensitivity to the class"
    return Summary(title, columns=columns, drawings=drawings, verdict="not comparable", facts=facts)


if __name__ == "__main__":
    launch(__file__, measure, summarise, pool=pool)
