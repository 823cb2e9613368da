"""Pixel Ablation-CAM, figure 3: explanation maps of one instance and of several.

Paper:      Samanta et al. 2025, section 4.2 and figure 3.
Command:    make pixel-ablation-cam-figure3
Reports:    pictures: where there are several instances, Grad-CAM finds one and Pixel Ablation-CAM all.
Cost:       1,000 images read, a pass of ResNet-50 for those with several boxes and one more for each method: 3 minutes
            on a CPU core, 1 GB.
Deviations: ResNet-50, for want of VGG-16's weights here; with them, `ARGS="model=vgg16"`. The paper does not name its
            images: the first that fit a rule (`figure.rules`), or `figure.pictures=[ids]`. What it says of one picture
            is counted on up to 200 with several boxes, beside controls.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from xcnn.evaluation.gallery import Gallery, boxes_kept, compared, compared_table
from xcnn.evaluation.selection import Rule, select_images, selection_words
from xcnn.figures import explanation_grid, save_png
from xcnn.launch import Setup, launch
from xcnn.report import Cell, Measured, PaperNumber, Row, Summary

METRICS = {
    "covered": "boxes covered",
    "touched": "boxes touched",
    "all_covered": "pictures, all covered",
    "all_touched": "pictures, all touched",
    "one_touched": "pictures, only one touched",
}


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    subject, figure = setup.explained(), options.figure
    methods = {
        name: setup.variant(f"attribution={name}").attribution(subject) for name in (*figure.methods, *figure.controls)
    }
    drawn = {name: methods[name] for name in figure.methods}
    gallery = Gallery.of(subject, drawn, select_images([subject], figure.rules, figure.pictures))
    kept = {name: gallery.kept(name, figure.fraction) for name in drawn}
    left = {name: gallery.retained_confidence(name, figure.fraction) for name in drawn}
    tables = {name: _found(gallery, name, figure.fraction) for name in drawn}
    notes = {
        name: [
            f"keeps {confidence:.2f}; boxes covered {covered * len(boxes):.0f}/{len(boxes)}, touched "
            f"{touched * len(boxes):.0f}/{len(boxes)}"
            for confidence, boxes, covered, touched in zip(
                left[name].tolist(), gallery.pictures.boxes, table["covered"], table["touched"], strict=True
            )
        ]
        for name, table in tables.items()
    }
    file = f"figure3-{options.network}.png"
    panels = gallery.rows(kept, notes, boxes=True)
    save_png(explanation_grid(panels, list(panels[0].maps)), cell.folder / file)
    several = Gallery.of(subject, methods, select_images([subject], [figure.measured], None))
    values = compared({name: _found(several, name, figure.fraction) for name in methods}, figure.methods[0])
    columns = {metric: {name: table[metric] for name, table in tables.items()} for metric in ("covered", "touched")}
    details = {"layer": options.cam_layer, "pictures": gallery.as_records(left=left, **columns)}
    return subject.measured(values, len(several.titles), details=details, files=[file])


def _found(gallery: Gallery, method: str, fraction: float) -> pd.DataFrame:
    """Of each picture: the share of its boxes at least half of which is kept, of those with any pixel kept, ..."""
    shares = boxes_kept(gallery.kept(method, fraction), gallery.pictures.boxes)
    covered = pd.Series([float((share >= 0.5).double().mean()) for share in shares])
    touched = pd.Series([float((share > 0).double().mean()) for share in shares])
    one = pd.Series([float((share > 0).sum() == 1) for share in shares])
    columns = (covered, touched, (covered == 1).astype(float), (touched == 1).astype(float), one)
    return pd.DataFrame(dict(zip(METRICS, columns, strict=True)))


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    parts, captions = [], {}
    for record in (record for row in rows for record in row.records):
        figure, network, values = record["settings"]["figure"], record["model"], record["values"]
        reference, *others = figure["methods"]
        parts += [
            f"{network} at {record['details']['layer']}. Drawn: {selection_words(figure, [network])}. An explanation "
            f"map keeps the highest {figure['fraction']:.0%} of the map's pixels, ties in reading order, as many for "
            "every method.",
            f"Measured on {record['n']} pictures: {Rule(**figure['measured']).words([network])}, or as many as there "
            "are. A box is covered if at least half of its pixels are kept, and touched if any is; the first two "
            "columns are the share of a picture's boxes, the last three the share of pictures. 95 % intervals over "
            f"pictures; \\*: differs from {reference}, picture by picture.",
            compared_table(values, [reference, *others, *figure["controls"]], METRICS),
            _verdict(values, [reference, *others], figure["controls"]),
        ]
        captions[f"figure3-{network}.png"] = (
            f"Figure 3: image with its boxes, class and confidence of {network}; explanation maps, the confidence that "
            "is left, and what is kept of the boxes."
        )
    return Summary("Pixel Ablation-CAM, figure 3: one instance and several", "\n\n".join(parts), captions=captions)


def _verdict(values: Mapping[str, float], methods: Sequence[str], controls: Sequence[str]) -> str:
    """What the paper shows on one picture, in numbers over many."""
    found = [
        f"{name} covers all instances in {values[f'all_covered/{name}']:.0%} of the pictures, touches all in "
        f"{values[f'all_touched/{name}']:.0%} and only one in {values[f'one_touched/{name}']:.0%}"
        for name in methods
    ]
    text = f"The paper's picture, where Grad-CAM finds one instance and Pixel Ablation-CAM all: {'; '.join(found)}."
    most = max(values[f"touched/{name}"] for name in methods)
    blind = [name for name in controls if values[f"touched/{name}"] >= most]
    return text + (f" To touch says little: {' and '.join(blind)} touches as many boxes or more." if blind else "")


if __name__ == "__main__":
    launch(__file__, measure, summarise)
