"""The page of `pixel_ablation_cam/localisation`; its quantities, which other pages have as well."""

from collections.abc import Sequence
from dataclasses import replace

from experiments.pixel_ablation_cam.comparisons import PIXEL, Better, apart, as_good, claims_of, curve_of
from xcnn.figures import Curve, curves_plot
from xcnn.launch.compose import compose
from xcnn.launch.titles import titled
from xcnn.report import Column, PaperNumber, Row, Summary, named
from xcnn.report.shards import side_by_side

BOXES: dict[str, Better] = dict.fromkeys(
    ("pointing", "energy", "iou", "box_iou", "localised", "iou/10%", "iou/30%", "iou/50%"), "higher"
)
PERTURBED: dict[str, Better] = {"insertion": "higher", "deletion": "lower", "road": "higher"}
TITLES = {
    "pointing": "pointing game",
    "energy": "energy in boxes",
    "iou": "IoU at 15 %",
    "box_iou": "IoU of boxes",
    "localised": "localised (IoU >= .5)",
    "chance": "boxes' share (chance)",
    "insertion": "insertion AUC",
    "deletion": "deletion AUC",
    "road": "ROAD",
}
COMPARED = (PIXEL, "grad_cam", "ablation_cam")  # with controls


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    drawings, claims, networks = {}, [], []
    drawn: Sequence[str] = compose("pixel_ablation_cam/localisation").curves
    for place, group in side_by_side(rows).items():
        group = [with_counts(row) for row in group]
        first, file = group[0], f"localisation-curves-{place}.png"
        perturbed = f"{first.mean['perturbed']:.0f} images"
        drawings[file] = curves_plot(
            curves_of(group, drawn), title=f"{titled(first.model)}, {perturbed}", control=titled("random")
        )
        claims += claims_of(group, BOXES) + claims_of(group, PERTURBED, counts=False)
        measured = {row.method for row in group}
        blind = as_good(group, BOXES | PERTURBED, [method for method in COMPARED if method in measured])
        networks.append({"rows": group, "file": file, "blind": blind, "apart": apart(group, BOXES | PERTURBED)})
    columns = [Column(metric, title) for metric, title in TITLES.items()]
    facts = {"networks": networks, "boxes": list(BOXES)[:5], "perturbed": list(PERTURBED), "claim_digits": 3}
    title = "Pixel Ablation-CAM: localisation on ImageNet val"
    return Summary(title, columns=columns, drawings=drawings, claims=claims, facts=facts)


def with_counts(row: Row) -> Row:
    """A row with how many images each metric is over: those with a box, or those that were altered."""
    counts = {named(metric, "n"): row.mean["with_boxes"] for metric in BOXES}
    counts |= {named(metric, "n"): row.mean["perturbed"] for metric in PERTURBED}
    return replace(row, mean={**row.mean, **counts})


def curves_of(group: Sequence[Row], drawn: Sequence[str]) -> dict[str, dict[str, Curve]]:
    """The curves of insertion and deletion of the drawn methods, by panel and title."""

    def curve(row: Row, kind: str) -> Curve:
        return curve_of(row, sorted(metric for metric in row.mean if metric.startswith(f"{kind}_curve/")))

    chosen = [row for row in group if row.method in drawn]
    return {kind: {titled(row.method): curve(row, kind) for row in chosen} for kind in ("insertion", "deletion")}
