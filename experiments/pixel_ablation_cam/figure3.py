"""Pixel Ablation-CAM, figure 3: explanation maps of one instance and of several.

Paper:      Samanta et al. 2025, section 4.2 and figure 3.
Command:    make pixel-ablation-cam-figure3
Reports:    explanation maps of VGG-16: where there are several instances, Grad-CAM finds one and Pixel Ablation-CAM
            all.
Cost:       1,000 images read, a pass of ResNet-50 for those with several boxes and one more for each method: 3 minutes
            on a CPU core, 1 GB.
Deviations: ResNet-50 (the product-quantised one of table 1), for want of VGG-16's weights here; with them,
            `ARGS="model=vgg16"`. The paper does not name its images: the first that fit a rule (`figure.rules`), or
            `figure.pictures=[ids]`. What it says of one image is counted on up to 200 with several boxes, beside
            controls.
"""

from collections.abc import Sequence

from experiments.pixel_ablation_cam.comparisons import Better, as_good, by_method, claims_of
from xcnn.evaluation.gallery import Gallery, compared, instances_kept
from xcnn.evaluation.selection import select_images
from xcnn.figures import explanation_grid, save_png
from xcnn.launch import Setup, launch
from xcnn.launch.titles import titled
from xcnn.report import Cell, Measured, PaperNumber, Row, Summary

METRICS: dict[str, Better] = {
    **dict.fromkeys(("covered", "touched", "all_covered", "all_touched"), "higher"),
    "one_touched": "lower",
}


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    subject, figure = setup.explained(), options.figure
    methods = setup.attributions(subject, (*figure.methods, *figure.controls))
    drawn = {name: methods[name] for name in figure.methods}
    gallery = Gallery.of(subject, drawn, select_images([subject], figure.rules, figure.pictures))
    left = {name: gallery.retained_confidence(name, figure.fraction) for name in drawn}
    tables = {name: instances_kept(gallery, name, figure.fraction) for name in drawn}
    file = f"figure3-{options.network}.png"
    panels = gallery.rows(
        {titled(name): gallery.kept(name, figure.fraction) for name in drawn},
        {
            titled(name): [
                f"keeps {confidence:.2f}; boxes covered {covered * len(boxes):.0f}/{len(boxes)}, touched "
                f"{touched * len(boxes):.0f}/{len(boxes)}"
                for confidence, boxes, covered, touched in zip(
                    left[name].tolist(), gallery.pictures.boxes, table["covered"], table["touched"], strict=True
                )
            ]
            for name, table in tables.items()
        },
        boxes=True,
    )
    save_png(explanation_grid(panels, list(panels[0].maps)), cell.folder / file)
    several = Gallery.of(subject, methods, select_images([subject], [figure.measured], None))
    values = compared({name: instances_kept(several, name, figure.fraction) for name in methods}, figure.methods[0])
    columns = {metric: {name: table[metric] for name, table in tables.items()} for metric in ("covered", "touched")}
    details = {"layer": options.cam_layer, "pictures": gallery.as_records(left=left, **columns)}
    return subject.measured(values, len(several.titles), details=details, files=[file])


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    measured, claims = [], []
    for row in rows:
        figure = row.settings["figure"]
        methods = by_method(row, [*figure["methods"], *figure["controls"]])
        measured.append((row.records[0], methods, as_good(methods, METRICS, figure["methods"])))
        claims += claims_of(methods, METRICS, figure["methods"][0])
    comparable = any((row.dataset, row.model) == ("imagenet", "vgg16") for row in rows)
    facts = {"measured": measured, "metrics": list(METRICS), "claim_digits": 3}
    title = "Pixel Ablation-CAM, figure 3: one instance and several"
    return Summary(title, claims=claims, comparable=comparable, facts=facts)


if __name__ == "__main__":
    launch(__file__, measure, summarise)
