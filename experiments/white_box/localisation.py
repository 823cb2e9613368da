"""White-box survey: all methods against the objects, by boxes, insertion, deletion and ROAD.

Paper:      Ayyar et al. 2021; the survey names overlap with boxes as a way to compare, and measures nothing.
Command:    make white-box-localisation
Reports:    nothing.
Cost:       a map of each method, and 42 passes for a quarter of the images: on one CPU core (float32) 30 s an image of
            ImageNet with ResNet-50 for all but SmoothGrad and integrated gradients, 15 s for these two; minutes on
            shapes.
Deviations: the metrics are the field's own, as in pixel_ablation_cam/localisation. Insertion, deletion and ROAD on a
            quarter of the images, chosen by their ids. Of signed maps the positive part counts.
"""

from collections.abc import Sequence

from experiments.pixel_ablation_cam.localisation import measure, pool
from experiments.pixel_ablation_cam.localisation_page import BOXES, PERTURBED, TITLES
from experiments.white_box.families import CONTROLS, methods_plot
from xcnn.launch import launch
from xcnn.report import Column, PaperNumber, Row, Summary
from xcnn.report.shards import side_by_side

SHOWN = ("pointing", "energy", "iou", "insertion", "deletion", "road")


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    drawings, networks = {}, []
    for place, group in side_by_side(rows).items():
        file = f"localisation-{place}.png"
        drawings[file] = methods_plot(group, {metric: TITLES[metric] for metric in ("energy", "insertion", "road")})
        controls = [row for row in group if row.method in CONTROLS]
        methods = [row for row in group if row not in controls]
        best = {metric: [_best(rows, metric) for rows in (methods, controls) if rows] for metric in SHOWN}
        networks.append({"rows": group, "file": file, "best": best})
    columns = [Column(metric, TITLES[metric]) for metric in SHOWN]
    facts = {"networks": networks, "shown": SHOWN, "titles": TITLES, "boxes": list(BOXES)[:5]}
    title = "White-box survey: localisation"
    return Summary(title, columns=columns, drawings=drawings, verdict="not comparable", facts=facts)


def _best(rows: Sequence[Row], metric: str) -> Row:
    sign = 1 if (BOXES | PERTURBED)[metric] == "higher" else -1
    return max(rows, key=lambda row: sign * row.mean[metric])


if __name__ == "__main__":
    launch(__file__, measure, summarise, pool=pool)
