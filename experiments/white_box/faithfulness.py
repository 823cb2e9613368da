"""White-box survey: all methods, what is left when only the marked is shown.

Paper:      Ayyar et al. 2021; not in the survey.
Command:    make white-box-faithfulness
Reports:    nothing.
Cost:       a map of each method and six passes: on one CPU core (float32) 20 s an image of ImageNet with ResNet-50 for
            all but SmoothGrad and integrated gradients, 14 s for these two; minutes on shapes.
Deviations: the survey measures nothing; drop and increase of confidence and activation under six protocols, as in
            pixel_ablation_cam/table1. Of signed maps the positive part counts under two of the three kinds.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from experiments.pixel_ablation_cam.faithfulness import measure
from experiments.pixel_ablation_cam.faithfulness_page import NEAREST, choices
from experiments.white_box.families import CONTROLS, methods_plot
from xcnn.evaluation.faithfulness import pool_faithfulness
from xcnn.launch import launch
from xcnn.report import Column, PaperNumber, Row, Summary
from xcnn.report.shards import side_by_side


def pool(rows: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, float]]:
    return pool_faithfulness(rows, compared=(), references=("grad_cam",))


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    drawings, networks = {}, []
    metric = f"drop_confidence/{NEAREST}"
    for place, group in side_by_side(rows).items():
        file = f"faithfulness-{place}.png"
        drawings[file] = methods_plot(group, {metric: "average drop of confidence, %"}, NEAREST)
        ranked = sorted((row for row in group if row.method not in CONTROLS), key=lambda row: row.mean[metric])
        controls = [row for row in group if row.method in CONTROLS]
        networks.append({"rows": group, "file": file, "ranked": ranked, "controls": controls})
    protocols = choices(rows[0]) if rows else []
    columns = [Column(f"drop_confidence/{each}", each, 1) for each in protocols]
    facts = {"networks": networks, "metric": metric, "protocols": protocols}
    title = "White-box survey: faithfulness"
    return Summary(title, columns=columns, drawings=drawings, verdict="not comparable", facts=facts)


if __name__ == "__main__":
    launch(__file__, measure, summarise, pool=pool)
