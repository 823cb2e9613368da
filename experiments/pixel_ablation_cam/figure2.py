"""Pixel Ablation-CAM, figure 2: heat maps of four methods on five images.

Paper:      Samanta et al. 2025, section 4.1 and figure 2.
Command:    make pixel-ablation-cam-figure2
Reports:    pictures: Pixel Ablation-CAM's maps are more precise and targeted than those of Grad-CAM, Ablation-CAM and
            Ablation-CAM++.
Cost:       a minute on a CPU core, 1 GB.
Deviations: the paper does not name its images: the first that fit a rule (`figure.rules`), or `figure.pictures=[ids]`.
            Eq. 5 and Ablation-CAM++ are our readings; the weights are named by their hash. `figure.methods` takes any
            method that has a configuration.
"""

from collections.abc import Sequence

from xcnn.evaluation.gallery import Gallery, correlation, rounded
from xcnn.evaluation.selection import select_images, selection_words
from xcnn.figures import heat_map_grid, save_png
from xcnn.launch import Setup, launch
from xcnn.report import Cell, Measured, PaperNumber, Row, Summary
from xcnn.report.tables import markdown


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    subject, figure = setup.explained(), options.figure
    methods = {name: setup.variant(f"attribution={name}").attribution(subject) for name in figure.methods}
    gallery = Gallery.of(subject, methods, select_images([subject], figure.rules, figure.pictures))
    maps = {name: explanation.maps for name, explanation in gallery.explanations.items()}
    left = {name: gallery.retained_confidence(name, figure.fraction) for name in methods}
    like = {name: correlation(maps[name], maps[figure.methods[0]]) for name in methods}
    notes = {name: [f"keeps {each:.2f}" for each in values.tolist()] for name, values in left.items()}
    file = f"figure2-{options.network}.png"
    panels = gallery.rows(maps, notes)
    save_png(heat_map_grid(panels, list(panels[0].maps)), cell.folder / file)
    values = {"confidence": float(gallery.outputs.confidence.mean())}
    values |= {f"left/{name}": float(each.mean()) for name, each in left.items()}
    values |= {f"correlation/{name}": float(each.nanmean()) for name, each in like.items()}
    details = {"layer": options.cam_layer, "pictures": gallery.as_records(left=left, correlation=like)}
    return subject.measured(values, len(gallery.titles), details=details, files=[file])


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    parts, captions = [], {}
    for record in (record for row in rows for record in row.records):
        figure, network = record["settings"]["figure"], record["model"]
        methods, pictures = figure["methods"], record["details"]["pictures"]
        parts += [
            f"{network} at {record['details']['layer']}, {selection_words(figure, [network])}. For each method, the "
            f"confidence in the same class when only the highest {figure['fraction']:.0%} of its map's pixels are "
            f"shown, on black, and in brackets the correlation of its map with that of {methods[0]}, over the layer's "
            "locations.",
            markdown(
                ["picture", "class", "confidence", *methods],
                [
                    [
                        each["id"],
                        each["predicted"],
                        f"{each['confidence']:.3f}",
                        *(f"{each['left'][name]:.3f} ({rounded(each['correlation'][name])})" for name in methods),
                    ]
                    for each in pictures
                ],
            ),
        ]
        captions[f"figure2-{network}.png"] = (
            f"Figure 2: image, class and confidence of {network}; the heat of each method's map on the grey image, and "
            "the confidence that its explanation map keeps."
        )
    return Summary("Pixel Ablation-CAM, figure 2: heat maps", "\n\n".join(parts), captions=captions)


if __name__ == "__main__":
    launch(__file__, measure, summarise)
