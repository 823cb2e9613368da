"""Filters on one image: chosen by score, drawn, put into words, the words verified (DeConvolve, section 3.2 to 4.3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from xcnn.data.tensors import TensorDataModule, scale
from xcnn.errors import UserError
from xcnn.figures import FilterView, save_png, signed_filters
from xcnn.filters import FilterActivity, measure_activity, score_filters
from xcnn.language import Description, FilterEvidence, MeasuredDescriber, verify
from xcnn.models.split import split_at
from xcnn.report.cells import Cell, Measured
from xcnn.report.networks import accuracy, measured
from xcnn.report.publish import Column, Summarise, Summary
from xcnn.report.tables import PaperNumber, Row, markdown


@dataclass(frozen=True)
class ImageChoice:
    """A test image chosen by rule, with the network's prediction of it."""

    index: int
    image: Tensor
    label: str
    predicted: str
    probabilities: Tensor


@torch.inference_mode()
def choose_image(
    networks: Sequence[nn.Module], data: TensorDataModule, label: str, correct: bool, skip: int = 0
) -> ImageChoice:
    """The first test image, in file order, of a class that every network gets right (or every one gets wrong).

    Args:
        networks: in eval mode; the prediction returned is the last one's.
        label: name of the class.
        correct: whether the networks must be right or wrong.
        skip: pass over this many such images.

    Raises:
        UserError: there is no such class, or not enough such images.
    """
    if label not in data.classes:
        raise UserError(f"{data.name} has no class {label!r}; there are: {', '.join(data.classes)}.")
    target = data.classes.index(label)
    indices = torch.nonzero(data.test.labels == target).flatten()
    images = scale(data.test.images[indices])
    probabilities = [torch.cat([network(part).softmax(1) for part in images.split(500)]) for network in networks]
    fits = torch.stack([(p.argmax(1) == target) == correct for p in probabilities]).all(0)
    places = torch.nonzero(fits).flatten()
    if len(places) <= skip:
        raise UserError(
            f"{len(places)} test images of {label!r} are {'rightly' if correct else 'wrongly'} classified by every one "
            f"of {len(networks)} networks, and number {skip + 1} was asked for: choose another class, or train longer."
        )
    place = places[skip]
    chosen = probabilities[-1][place]
    return ImageChoice(int(indices[place]), images[place], label, data.classes[int(chosen.argmax())], chosen)


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
        network: images to logits, in eval mode.
        layer: name of a post-ReLU layer.
        data: its test images give the classes that each filter fires for.
        threshold: t of the masks.
    """

    def __init__(self, network: nn.Module, layer: str, data: TensorDataModule, threshold: float = 0.1):
        self.layer, self.data, self.threshold = layer, data, threshold
        self.split = split_at(network, layer)
        self.scores = score_filters(network, layer, data.input_size)
        self.activity: FilterActivity = measure_activity(
            network, layer, data.test_dataloader(), len(data.classes), threshold
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
        description = MeasuredDescriber().describe(evidence)
        supported = sum(verdict.outcome == "supported" for verdict in verify(description, evidence))
        view = FilterView(f"{self.layer}/{index}", activation.numpy(), score, description.text)
        return ExplainedFilter(index, view, description, supported)


def explained_image(
    cell: Cell,
    network: nn.Module,
    data: TensorDataModule,
    training: dict[str, Any],
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
        network: in eval mode.
        data: the image is the first test image that fits.
        training: record of the network's training.
        layer: whose filters are shown; only those that are live on the image.
        label: true class of the image.
        correct: whether the network gets it right.
        top: filters drawn for each sign.
        told: without effect, kept for the records' settings: the words of all filters stand in the figure.
    """
    choice = choose_image([network], data, label, correct)
    explainer = FilterExplainer(network, layer, data)
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
        "accuracy": accuracy(network, data),
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
    return measured(data, training, values, n=1, details=details, files=[f"{name}.png"])


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
