"""Filters on one image: chosen by score, drawn, put into words, the words verified (DeConvolve, section 3.2 to 4.3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from xcnn.evaluation.predictions import accuracy
from xcnn.evaluation.selection import ImageChoice, choose_image
from xcnn.evaluation.subject import Subject
from xcnn.figures import FilterView, save_png, signed_filters
from xcnn.filters import FilterActivity, measure_activity, score_filters
from xcnn.language import Describer, Description, FilterEvidence, verify
from xcnn.models.split import split_at
from xcnn.report.cells import Cell, Measured
from xcnn.report.page import Column, Summarise, Summary
from xcnn.report.tables import PaperNumber, Row, markdown


@dataclass(frozen=True)
class ExplainedFilter:
    """A filter on an image: as the figures draw it, and in words."""

    index: int
    view: FilterView
    description: Description
    supported: int

    def as_record(self) -> dict[str, Any]:
        """Plain values for a cell's details."""
        return {
            "filter": self.index,
            "score": self.view.score,
            "text": self.description.text,
            "claims": len(self.description.claims),
            "supported": self.supported,
            "provider": self.description.provider,
            "evidence": self.description.evidence_hash,
        }


class FilterExplainer:
    """Explains single filters of one layer of a network: scores and activity are measured once, for all images.

    Args:
        subject: network whose test images give the classes that each filter fires for.
        layer: name of a post-ReLU layer.
        describer: what puts a filter's map into words.
        threshold: t of the masks.
    """

    def __init__(self, subject: Subject, layer: str, describer: Describer, threshold: float = 0.1):
        network, self.data = subject.network, subject.data
        self.layer, self.describer, self.threshold = layer, describer, threshold
        self.split = split_at(network, layer)
        self.scores = score_filters(network, layer, self.data.input_size)
        self.activity: FilterActivity = measure_activity(
            network, layer, self.data.test_dataloader(), len(self.data.classes), threshold
        )

    @torch.inference_mode()
    def maps(self, image: Tensor) -> Tensor:
        """(K, h, w) post-ReLU maps of one image (C, H, W)."""
        return self.split.trunk(image[None])[0]

    def ranked(self, image: Tensor, target: str, live_only: bool = True) -> list[int]:
        """Filters by score for a class, highest first; those without a live map on the image left out unless asked."""
        scores = self.scores[self.data.classes.index(target)]
        order = scores.argsort(descending=True, stable=True).tolist()
        if live_only:
            live = (self.maps(image).amax((1, 2)) > 0).tolist()
            order = [index for index in order if live[index]]
        return order

    def explain(self, choice: ImageChoice, target: str, index: int) -> ExplainedFilter:
        """One filter on one image, with its words and how many of their claims the evidence supports."""
        score = float(self.scores[self.data.classes.index(target), index])
        activation = self.maps(choice.image)[index]
        evidence = FilterEvidence(
            self.layer,
            index,
            choice.image,
            activation,
            target,
            choice.predicted,
            score,
            self.data.classes,
            self.activity.auroc[:, index],
            self.threshold,
        )
        description = self.describer.describe(evidence)
        supported = sum(verdict.outcome == "supported" for verdict in verify(description, evidence))
        view = FilterView(f"{self.layer}/{index}", activation.numpy(), score, description.text)
        return ExplainedFilter(index, view, description, supported)


def explained_image(
    cell: Cell,
    subject: Subject,
    describer: Describer,
    *,
    layer: str,
    label: str,
    correct: bool,
    top: int = 4,
    told: int = 2,
) -> Measured:
    """Figures 6 to 8: one image with the filters that raise and lower the probability of its predicted class.

    Args:
        cell: the picture is left in its folder, `<experiment's name>.png`.
        subject: network; the image is the first of its test images that fits.
        describer: what puts the filters' maps into words.
        layer: whose filters are shown; only those that are live on the image.
        label: true class of the image.
        correct: whether the network gets it right.
        top: filters drawn for each sign.
        told: without effect, kept for the records' settings: the words of all filters stand in the figure.
    """
    data = subject.data
    choice = choose_image([subject.network], data, label, correct)
    explainer = FilterExplainer(subject, layer, describer)
    order = explainer.ranked(choice.image, choice.predicted)
    scores = explainer.scores[data.classes.index(choice.predicted)]
    positive = [explainer.explain(choice, choice.predicted, k) for k in order[:top] if scores[k] > 0]
    negative = [explainer.explain(choice, choice.predicted, k) for k in order[::-1][:top] if scores[k] < 0]
    figure = signed_filters(
        choice.image,
        [f.view for f in positive],
        [f.view for f in negative],
        choice.probabilities,
        data.classes,
        choice.predicted,
        f"{label}, classified as {choice.predicted}",
        explainer.threshold,
    )
    name = cell.experiment.split("/")[1]
    save_png(figure, cell.folder / f"{name}.png")
    explained = [*positive, *negative]
    values = {
        "probability": float(choice.probabilities.max()),
        "accuracy": accuracy(subject),
        "dead": explainer.activity.dead_share,
        "live": float(len(order)),
        "claims": float(sum(len(f.description.claims) for f in explained)),
        "supported": float(sum(f.supported for f in explained)),
    }
    details = {
        "image": choice.index,
        "label": choice.label,
        "predicted": choice.predicted,
        "layer": layer,
        "positive": [f.as_record() for f in positive],
        "negative": [f.as_record() for f in negative],
    }
    return subject.measured(values, 1, details=details, files=[f"{name}.png"])


READING = (
    "The paper lets a language model read such maps. Here every word is a measurement: where the map is active, its "
    "colours, its edges, the classes it fires for. No object part is named, since none was measured."
)


def explained_image_summary(title: str) -> Summarise:
    """The page of figures 6 to 8: the words of every filter shown, and how many claims the evidence supports."""

    def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
        parts = [READING]
        for record in (record for row in rows for record in row.records):
            details, values = record["details"], record["values"]
            name = record["experiment"].split("/")[1]
            parts.append(
                f"Test image {details['image']} ({details['label']}), classified as {details['predicted']} with "
                f"probability {values['probability']:.2f} by the {record['method']} network, whose test accuracy is "
                f"{values['accuracy']:.3f} and of whose {details['layer']} filters {values['dead']:.0%} are dead; "
                f"{values['live']:.0f} are live on this image. Scores are of a constant unit map for "
                f"{details['predicted']} (algorithm 1). {values['supported']:.0f} of {values['claims']:.0f} claims in "
                "the words below are supported by the evidence when measured again."
            )
            lines = [
                [f"{details['layer']}/{f['filter']}", f"{f['score']:+.4f}", f["text"]]
                for f in (*details["positive"], *details["negative"])
            ]
            parts.append(markdown(["filter", "score", "words (measured, no language model)"], lines))
        columns = [
            Column("accuracy", "test accuracy"),
            Column("dead", "dead filters"),
            Column("probability", "probability"),
            Column("live", "live filters", 0),
        ]
        return Summary(title, "\n\n".join(parts), columns, captions={f"{name}.png": title + "."})

    return summarise
