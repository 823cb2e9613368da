"""Pixel Ablation-CAM, figure 2: heat maps of four methods on five images.

Paper:      Samanta et al. 2025, section 4.1 and figure 2.
Command:    make pixel-ablation-cam-figure2
Reports:    heat maps; Pixel Ablation-CAM's are said to be more precise and targeted than those of Grad-CAM,
            Ablation-CAM and Ablation-CAM++.
Cost:       a minute on a CPU core, 1 GB.
Deviations: the paper does not name its images: the first that fit a rule (`figure.rules`), or `figure.pictures=[ids]`.
            Eq. 5 and Ablation-CAM++ are our readings; the groups of the latter follow from k-means, and between two
            versions of it the confidence that it keeps moved by 0.11 on one of the five images. The committed record
            has the product-quantised ResNet-50 of table 1. `figure.methods` takes any method that has a configuration.
"""

from collections.abc import Sequence

from experiments.pixel_ablation_cam.comparisons import PIXEL, over_shown
from xcnn.evaluation.gallery import Gallery, correlation
from xcnn.evaluation.selection import select_images
from xcnn.figures import heat_map_grid, save_png
from xcnn.launch import Setup, launch
from xcnn.launch.titles import titled
from xcnn.report import Cell, Measured, PaperNumber, Row, Summary, claim


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    subject, figure = setup.explained(), options.figure
    methods = setup.attributions(subject, figure.methods)
    gallery = Gallery.of(subject, methods, select_images([subject], figure.rules, figure.pictures))
    maps = {name: explanation.maps for name, explanation in gallery.explanations.items()}
    left = {name: gallery.retained_confidence(name, figure.fraction) for name in methods}
    like = {name: correlation(maps[name], maps[figure.methods[0]]) for name in methods}
    notes = {titled(name): [f"keeps {each:.2f}" for each in values.tolist()] for name, values in left.items()}
    file = f"figure2-{options.network}.png"
    panels = gallery.rows({titled(name): each for name, each in maps.items()}, notes)
    save_png(heat_map_grid(panels, list(notes)), cell.folder / file)
    values = {"confidence": float(gallery.outputs.confidence.mean())}
    values |= {f"left/{name}": float(each.mean()) for name, each in left.items()}
    values |= {f"correlation/{name}": float(each.nanmean()) for name, each in like.items()}
    details = {"layer": options.cam_layer, "pictures": gallery.as_records(left=left, correlation=like)}
    return subject.measured(values, len(gallery.titles), details=details, files=[file])


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    claims = []
    for row in rows:
        methods = row.settings["figure"]["methods"]
        if PIXEL in methods:
            kept = over_shown(row, "left", methods)
            claims += [claim(kept, "left", PIXEL, name, "higher") for name in methods if name != PIXEL]
    return Summary("Pixel Ablation-CAM, figure 2: heat maps", claims=claims, facts={"claim_digits": 3})


if __name__ == "__main__":
    launch(__file__, measure, summarise)
