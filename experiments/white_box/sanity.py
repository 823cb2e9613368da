"""White-box survey: do maps change when the network's weights are randomised layer by layer?

Paper:      Ayyar et al. 2021; not in the survey (Adebayo et al. 2018, Binder et al. 2023).
Command:    make white-box-sanity
Reports:    nothing.
Cost:       ten maps of each method: on one CPU core (float32) 80 s an image of ImageNet with ResNet-50 for all but
            SmoothGrad and integrated gradients, 130 s for these two, and 1 GB for the copies of the network; minutes
            on shapes.
Deviations: the survey does not ask. Weights are drawn from normal distributions with the layer's own mean and
            deviation; networks have their BatchNorm folded in. Structural similarity of the maps' absolute values, rank
            correlation of these and of the maps as they are.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from experiments.white_box.families import CONTROLS, leading, methods_plot
from xcnn.evaluation.image_rows import pool_metrics
from xcnn.evaluation.sanity import MEASURES, ORDERS, measure_sanity
from xcnn.launch import Setup, launch
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary
from xcnn.report.shards import side_by_side

DRAWN = {
    "rank_absolute_left/top_down": "rank correlation, from the top",
    "rank_absolute_left/bottom_up": "rank correlation, from the bottom",
    "ssim_left/top_down": "SSIM, from the top",
}


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    subject = setup.explained()
    return measure_sanity(cell, subject, setup.method, options.stages, options.seed, options.chunk)


def pool(rows: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, float]]:
    return pool_metrics(rows, references=["gradient"])


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    drawings, networks, groups = {}, [], side_by_side(rows)
    main = leading(groups)
    for place, group in groups.items():
        file = f"sanity-{place}.png"
        drawings[file] = methods_plot(group, DRAWN)
        by_rank = sorted(group, key=lambda row: row.mean["rank_absolute_left/top_down"])
        ranked = [row for row in by_rank if row.method not in CONTROLS]
        silent = sorted(ranked, key=lambda row: row.mean["constant/top_down"])
        networks.append(
            {
                "rows": group,
                "main": place in main,
                "file": file,
                "ranked": ranked,
                "silent": silent,
                "controls": {row.method: row for row in group if row.method in CONTROLS},
                "stages": {order: _stages(group[0], order) for order in ORDERS},
            }
        )
    columns = [Column(f"{measure}_left/{order}", f"{measure}, {order}") for measure in MEASURES for order in ORDERS]
    facts = {"networks": networks, "measures": MEASURES, "orders": ORDERS}
    title = "White-box survey: sanity"
    return Summary(title, columns=columns, drawings=drawings, verdict="not comparable", facts=facts)


def _stages(row: Row, order: str) -> list[str]:
    """The stages of a cascade, as the names of their columns end."""
    prefix = f"ssim/{order}-"
    return sorted(metric.removeprefix("ssim/") for metric in row.mean if metric.startswith(prefix))


if __name__ == "__main__":
    launch(__file__, measure, summarise, pool=pool)
