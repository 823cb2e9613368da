"""Pixel Ablation-CAM, figure 5: its heat maps of two networks.

Paper:      Samanta et al. 2025, section 4.4 and figure 5.
Command:    make pixel-ablation-cam-figure5
Reports:    pictures: ResNet-50's maps look more reliable than VGG-16's, on images that both get right; 15 raters say so
            (+1.48 on a scale from -2 to 2).
Cost:       half a minute on a CPU core, 1 GB.
Deviations: ResNet-18 in place of VGG-16, for want of its weights here; with them, `ARGS="figure.other=vgg16"`. The
            paper does not name its images: the first that fit a rule (`figure.rules`), or `figure.pictures=[ids]`; its
            raters are not asked. Both networks see the picture as the first one crops it.
"""

from collections.abc import Sequence
from dataclasses import replace

from xcnn.attribution import upsample
from xcnn.evaluation.gallery import Gallery, correlation, rounded
from xcnn.evaluation.selection import select_images, selection_words
from xcnn.figures import heat_map_grid, save_png
from xcnn.launch import Setup, launch
from xcnn.report import Cell, Measured, PaperNumber, Row, Summary
from xcnn.report.tables import markdown


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    figure = options.figure
    setups = {options.network: setup, figure.other: setup.variant(f"model={figure.other}")}
    subjects = {network: own.explained() for network, own in setups.items()}
    pictures = select_images(list(subjects.values()), figure.rules, figure.pictures)
    galleries = {
        network: Gallery.of(subject, {network: setups[network].attribution(subject)}, pictures)
        for network, subject in subjects.items()
    }
    maps = {network: gallery.explanations[network].maps for network, gallery in galleries.items()}
    confidence = {network: gallery.outputs.confidence for network, gallery in galleries.items()}
    left = {network: gallery.retained_confidence(network, figure.fraction) for network, gallery in galleries.items()}
    large = [upsample(each, pictures.images.shape[2:]) for each in maps.values()]
    like = {"both": correlation(large[0], large[-1])}
    notes = {network: [f"confidence {each:.2f}" for each in values.tolist()] for network, values in confidence.items()}
    first = galleries[options.network]
    file = f"figure5-{options.network}-{figure.other}.png"
    panels = [replace(row, title=name) for row, name in zip(first.rows(maps, notes), first.predicted, strict=True)]
    save_png(heat_map_grid(panels, list(panels[0].maps)), cell.folder / file)
    values = {f"confidence/{network}": float(each.mean()) for network, each in confidence.items()}
    values |= {f"left/{network}": float(each.mean()) for network, each in left.items()}
    values["correlation"] = float(like["both"].nanmean())
    details = {
        "layers": {network: own.options.cam_layer for network, own in setups.items()},
        "weights": {network: subject.weights for network, subject in subjects.items()},
        "pictures": first.as_records(confidence_of=confidence, left=left, correlation=like),
    }
    return subjects[options.network].measured(values, len(pictures.ids), details=details, files=[file])


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    parts, captions = [], {}
    for record in (record for row in rows for record in row.records):
        figure, details = record["settings"]["figure"], record["details"]
        networks = [record["model"], figure["other"]]
        at = " and ".join(f"{network} at {details['layers'][network]}" for network in networks)
        parts += [
            f"{record['method']} of {at}, {selection_words(figure, networks)}. For each network its confidence, in "
            f"brackets what is left of it when only the highest {figure['fraction']:.0%} of its map's pixels are "
            "shown, on black; and the correlation of both maps, at the picture's size.",
            markdown(
                ["picture", "class", *networks, "correlation"],
                [
                    [
                        each["id"],
                        each["predicted"],
                        *(f"{each['confidence_of'][name]:.3f} ({each['left'][name]:.3f})" for name in networks),
                        rounded(each["correlation"]["both"]),
                    ]
                    for each in details["pictures"]
                ],
            ),
        ]
        captions[f"figure5-{record['model']}-{networks[1]}.png"] = (
            f"Figure 5: image and class; the heat of {record['method']}'s map of each network on the grey image, and "
            "the network's confidence."
        )
    return Summary("Pixel Ablation-CAM, figure 5: two networks", "\n\n".join(parts), captions=captions)


if __name__ == "__main__":
    launch(__file__, measure, summarise)
