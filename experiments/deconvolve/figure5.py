"""DeConvolve, figure 5: the two renderings of a heat map on an image, for the eyes of a reader or a language model.

Paper:      Meeradevi et al. 2025, section 3.4.1 and figure 5.
Command:    make deconvolve-figure5
Reports:    a picture: the proportionate and the encircled rendering.
Cost:       one training of 50 epochs (shared with the other experiments), then seconds.
Deviations: the encircled rendering draws the contour of the smoothed, thresholded heat; the literal reading (threshold
            heat times image) stands beside it.
"""

from collections.abc import Sequence

from omegaconf import DictConfig

from xcnn.figures import renderings_figure, save_png
from xcnn.launch import launch, trained
from xcnn.report import Cell, Measured, PaperNumber, Row, Summary
from xcnn.report.explain import FilterExplainer, choose_image
from xcnn.report.networks import accuracy, measured


def measure(cfg: DictConfig, cell: Cell) -> Measured:
    run, settings = trained(cfg), cfg.figure
    choice = choose_image([run.network], run.data, settings.label, correct=True)
    explainer = FilterExplainer(run.network, settings.layer, run.data)
    shown = explainer.ranked(choice.image, settings.label)[: settings.top]
    views = [explainer.explain(choice, settings.label, index).view for index in shown]
    figure = renderings_figure(choice.image, views, settings.threshold, f"{settings.label}, {settings.layer}")
    save_png(figure, cell.folder / "figure5.png")
    values = {"accuracy": accuracy(run.network, run.data), "dead": explainer.activity.dead_share}
    details = {"image": choice.index, "label": choice.label, "layer": settings.layer, "filters": shown}
    return measured(run.data, run.record, values, n=1, details=details, files=["figure5.png"])


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    text = "\n\n".join(
        f"Test image {record['details']['image']} ({record['details']['label']}), the highest-scoring live filters of "
        f"{record['details']['layer']} in the {record['method']} network (test accuracy "
        f"{record['values']['accuracy']:.3f}, dead filters of the layer {record['values']['dead']:.2f})."
        for row in rows
        for record in row.records
    )
    captions = {
        "figure5.png": "Figure 5: image, heat, proportionate rendering, encircled rendering, its literal reading."
    }
    return Summary("DeConvolve, figure 5: renderings", text, captions=captions)


if __name__ == "__main__":
    launch(__file__, measure, summarise)
