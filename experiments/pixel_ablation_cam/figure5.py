"""Pixel Ablation-CAM, figure 5: its heat maps of two networks.

Paper:      Samanta et al. 2025, section 4.4 and figure 5.
Command:    make pixel-ablation-cam-figure5
Reports:    heat maps; ResNet-50's are said to look more reliable than VGG-16's, on images that both get right, by 15
            raters (+1.48 on a scale from -2 to 2).
Cost:       half a minute on a CPU core, 1 GB.
Deviations: ResNet-18 in place of VGG-16, for want of its weights here; with them, `ARGS="figure.other=vgg16"`. The
            paper does not name its images: the first that fit a rule (`figure.rules`), or `figure.pictures=[ids]`; its
            raters are not asked. Both networks see the image as the first one crops it. The committed record has
            product-quantised networks, ResNet-50's of table 1 and ResNet-18's (about 66 % top-1) from the same source.
"""

from collections.abc import Sequence
from dataclasses import replace

from xcnn.attribution import upsample
from xcnn.evaluation.gallery import Gallery, correlation
from xcnn.evaluation.selection import select_images
from xcnn.figures import heat_map_grid, save_png
from xcnn.launch import Setup, launch
from xcnn.launch.titles import titled
from xcnn.report import Cell, Measured, PaperNumber, Row, Summary


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
    notes = {
        titled(network): [f"confidence {each:.2f}" for each in values.tolist()]
        for network, values in confidence.items()
    }
    first = galleries[options.network]
    file = f"figure5-{options.network}-{figure.other}.png"
    drawn = first.rows({titled(network): each for network, each in maps.items()}, notes)
    panels = [replace(row, title=name) for row, name in zip(drawn, first.predicted, strict=True)]
    save_png(heat_map_grid(panels, list(notes)), cell.folder / file)
    values = {f"confidence/{network}": float(each.mean()) for network, each in confidence.items()}
    values |= {f"left/{network}": float(each.mean()) for network, each in left.items()}
    values["correlation"] = float(like["both"].nanmean())
    details = {
        "layers": {network: own.options.cam_layer for network, own in setups.items()},
        "weights": {network: subject.weights for network, subject in subjects.items()},
        "provenance": {network: subject.weights_provenance for network, subject in subjects.items()},
        "pictures": first.as_records(confidence_of=confidence, left=left, correlation=like),
    }
    return subjects[options.network].measured(values, len(pictures.ids), details=details, files=[file])


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    """What the paper reports are the votes of raters, whom nobody asked here."""
    return Summary("Pixel Ablation-CAM, figure 5: two networks", verdict="not comparable")


if __name__ == "__main__":
    launch(__file__, measure, summarise)
