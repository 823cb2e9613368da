"""Are the words about a layer's filters any good? Described on some images, simulated and scored on others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from xcnn.data.shapes import PARTS
from xcnn.data.tensors import Labelled, scale
from xcnn.evaluation.subject import Subject
from xcnn.filters import auroc
from xcnn.language import Claim, Describer, Description, FilterEvidence, describe_all, verify
from xcnn.language.simulate import Scenes, gaussian, simulate, vocabulary
from xcnn.language.verify import BACKGROUND, PartMasks, lies_on
from xcnn.metrics.simulation import average_precisions, correlations
from xcnn.models.capture import capture

METRICS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"pearson": correlations, "auprc": average_precisions}
BEST_WORD = "best_word"
CONTROLS = ("shuffled", "net", "image", BEST_WORD, "centre", "constant")
SCORES = (*(f"{name}{end}" for name in METRICS for end in ("", *(f"_{each}" for each in CONTROLS))), "which")


@dataclass(frozen=True, eq=False)
class Sample:
    """Images, and what can be seen on them.

    Attributes:
        images: (N, 3, H, W) in [0, 1].
        labels: (N,).
        classes: names of the classes.
        parts: (N, H, W) masks of the objects' parts, where the data set has them.
    """

    images: Tensor
    labels: Tensor
    classes: Sequence[str]
    parts: Tensor | None = None
    _scenes: dict[tuple[int, int], Scenes] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, data: Labelled, classes: Sequence[str], n: int, seed: int) -> "Sample":
        """At most n images, drawn at random."""
        chosen = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))[:n].sort().values
        drawn = data.subset(chosen)
        return cls(scale(drawn.images), drawn.labels, classes, drawn.masks.get("parts"))

    def scenes(self, size: tuple[int, int]) -> Scenes:
        """The images as a reader of a description sees them, in the cells of a map (h, w)."""
        if size not in self._scenes:
            names = [self.classes[label] for label in self.labels]
            self._scenes[size] = Scenes.of(self.images, names, size, self.parts, PARTS)
        return self._scenes[size]

    def masks(self, image: int) -> PartMasks | None:
        return None if self.parts is None else PartMasks(self.parts[image].numpy(), PARTS)


@dataclass(frozen=True, eq=False)
class Responses:
    """What the filters of a layer do on a sample.

    Attributes:
        sample: the images.
        maps: (N, K, h, w), after the ReLU.
        predicted: (N,) the network's classes.
    """

    sample: Sample
    maps: Tensor
    predicted: Tensor

    @cached_property
    def size(self) -> tuple[int, int]:
        return self.maps.shape[2], self.maps.shape[3]

    @property
    def live(self) -> Tensor:
        """(K,) whether a filter fires on any image."""
        return self.maps.amax((0, 2, 3)) > 0

    @property
    def cells(self) -> Tensor:
        """(K, N h w)."""
        return self.maps.transpose(0, 1).flatten(1)


@torch.inference_mode()
def respond(subject: Subject, layers: Sequence[str], sample: Sample) -> dict[str, Responses]:
    """The responses of several layers, from one pass over the sample."""
    found: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    predicted = []
    for images in sample.images.split(subject.batch):
        with capture(subject.network, layers) as maps:
            predicted.append(subject.network(subject.normalise(images.to(subject.device))).argmax(1).cpu())
        for layer in layers:
            found[layer].append(maps[layer].cpu())
    return {layer: Responses(sample, torch.cat(parts), torch.cat(predicted)) for layer, parts in found.items()}


@dataclass(frozen=True, eq=False)
class Words:
    """A layer's filters in words.

    Attributes:
        filters: those that were described, live on both samples.
        evidence, descriptions: of each, one for each image that it was described on.
        masks: of these images' parts, where there are any.
        without_filter: what the describer says of the same images, shown without the filter.
    """

    filters: Sequence[int]
    evidence: Sequence[Sequence[FilterEvidence]]
    descriptions: Sequence[Sequence[Description]]
    masks: Sequence[Sequence[PartMasks | None]]
    without_filter: Sequence[Sequence[Description]]

    def claims(self) -> dict[str, float]:
        """What becomes of the claims when they are checked again, and of those that name a part.

        Returns:
            `claims`, their number, and the shares of them that are `supported`, `contradicted` and `untestable`; NaN
            where nothing is claimed. Of the descriptions of a map that lies on a part: `on_part`, their share of all,
            NaN without masks; `names_part` and `right_part`, the shares of them that name a part, and the right one.
            Controls for the last, without any look at the map: `shuffled_part`, the next filter's words;
            `commonest_part`, always the part that most maps lie on; `largest_part`, the largest of the image.
        """
        outcomes: list[str] = []
        truth: list[str] = []
        parts: list[tuple[bool, bool, bool, bool]] = []
        several = list(zip(self.evidence, self.descriptions, self.masks, strict=True))
        for place, (evidence, descriptions, masks) in enumerate(several):
            others = self.descriptions[(place + 1) % len(several)]
            for index, (one, description, mask) in enumerate(zip(evidence, descriptions, masks, strict=True)):
                outcomes += [verdict.outcome for verdict in verify(description, one, mask)]
                lies = None if mask is None else lies_on(one, mask)
                if mask is None or lies in (None, BACKGROUND):
                    continue
                truth.append(str(lies))
                said, other = _parts(description), _parts(others[index % len(others)])
                parts.append((bool(said), lies in said, lies in other, lies == _largest(mask)))
        shares = {name: outcomes.count(name) / len(outcomes) if outcomes else np.nan for name in _OUTCOMES}
        names, right, shuffled, largest = np.mean(parts, axis=0).tolist() if parts else [np.nan] * 4
        known = any(mask is not None for masks in self.masks for mask in masks)
        return {
            "claims": len(outcomes),
            **shares,
            "on_part": len(parts) / sum(map(len, self.evidence)) if known else np.nan,
            "names_part": names,
            "right_part": right,
            "shuffled_part": shuffled,
            "commonest_part": max(map(truth.count, truth)) / len(truth) if truth else np.nan,
            "largest_part": largest,
        }


_OUTCOMES = ("supported", "contradicted", "untestable")


def _parts(description: Description) -> set[str]:
    """The parts that a description names."""
    return {claim.value for claim in description.claims if claim.kind == "part" and claim.value in PARTS}


def _largest(mask: PartMasks) -> str:
    return mask.names[int(np.bincount(mask.labels.ravel(), minlength=2)[1:].argmax())]


def put_into_words(
    responses: Responses,
    live: Tensor,
    layer: str,
    scores: Tensor,
    describer: Describer,
    exemplars: int,
    progress: str | None = None,
) -> Words:
    """Each live filter on the images on which its peak is highest.

    Args:
        responses: of the images to describe on.
        live: (K,) which filters.
        layer: its name.
        scores: (classes, K) of algorithm 1; the evidence has that for the class predicted.
        describer: what puts them into words.
        exemplars: number of images for each filter.
        progress: title of a progress bar; None for none.
    """
    sample, classes = responses.sample, tuple(responses.sample.classes)
    fires_for = auroc(responses.maps.mean((2, 3)), sample.labels, len(classes))
    peaks = responses.maps.amax((2, 3))
    filters = torch.nonzero(live).flatten().tolist()
    images = [peaks[:, k].argsort(descending=True, stable=True)[:exemplars].tolist() for k in filters]
    images = [[i for i in chosen if peaks[i, k] > 0] for k, chosen in zip(filters, images, strict=True)]

    def evidence(k: int, image: int) -> FilterEvidence:
        target = classes[responses.predicted[image]]
        score = float(scores[classes.index(target), k])
        activation = responses.maps[image, k]
        return FilterEvidence(
            layer, k, sample.images[image], activation, target, target, score, classes, fires_for[:, k]
        )

    shown = [[evidence(k, i) for i in chosen] for k, chosen in zip(filters, images, strict=True)]
    everywhere = {
        i: replace(
            evidence(0, i), activation=torch.ones(responses.size), score=0.0, auroc=torch.full((len(classes),), np.nan)
        )
        for i in {i for chosen in images for i in chosen}
    }
    flat = [one for each in shown for one in each]
    said = iter(describe_all(describer, flat, progress))
    of_image = dict(zip(everywhere, describe_all(describer, [*everywhere.values()], progress), strict=True))
    return Words(
        filters,
        shown,
        [[next(said) for _ in each] for each in shown],
        [[sample.masks(i) for i in chosen] for chosen in images],
        [[of_image[i] for i in chosen] for chosen in images],
    )


def best_words(responses: Responses, scenes: Scenes, filters: Sequence[int]) -> list[Claim]:
    """The single word whose simulation correlates best with each filter: a reference, searched and not described."""
    words = vocabulary(scenes)
    predicted = torch.stack([simulate([word], scenes).flatten() for word in words])
    best = correlations(predicted, responses.cells[list(filters)]).argmax(0)
    return [words[index] for index in best.tolist()]


def score_words(words: Words, best: Sequence[Claim], held_out: Responses, scenes: Scenes) -> pd.DataFrame:
    """How well the words, and the controls, predict where and on which held-out images the filters fire.

    Args:
        words: of the filters.
        best: the best single word of each.
        held_out: other images than those of the words.
        scenes: these images, in the layer's cells.

    Returns:
        A row for each filter, none where no filter is live. `pearson` and `auprc` of its words; `<metric>_shuffled`,
        the mean over the words of all other filters; `_image`, of words about the same images without the filter;
        `_centre`, of one place for all images, a Gaussian in the middle; `_constant`; `_best_word`; and `<metric>_net`,
        less shuffled. `which`: the same as `pearson` between the means over each image, of which images alone.
    """
    if not words.filters:
        return pd.DataFrame(columns=list(SCORES), dtype=float)
    actual = held_out.cells[list(words.filters)]
    shape = scenes.shape

    def predicted(all_claims: Sequence[Sequence[Sequence[Claim]]]) -> Tensor:
        return torch.stack([_simulated(several, scenes) for several in all_claims])

    own = predicted([[one.claims for one in each] for each in words.descriptions])
    others = {
        "image": predicted([[one.claims for one in each] for each in words.without_filter]),
        BEST_WORD: predicted([[[claim]] for claim in best]),
        "centre": gaussian(shape[1:], (1, 1), 1 / 4).expand(shape).reshape(1, -1),
        "constant": torch.zeros(1, actual.shape[1]),
    }
    found: dict[str, Tensor] = {}
    for name, metric in METRICS.items():
        pairs = metric(own, actual)  # of the words of each filter with each filter
        found[name] = pairs.diagonal()
        n = len(pairs)
        found[f"{name}_shuffled"] = (pairs.sum(0) - pairs.diagonal()) / (n - 1) if n > 1 else pairs.sum(0) * torch.nan
        found[f"{name}_net"] = found[name] - found[f"{name}_shuffled"]
        for control, values in others.items():
            rows = metric(values, actual) if len(values) == 1 else _paired(metric, values, actual)
            found[f"{name}_{control}"] = rows.flatten()
    means = [values.unflatten(1, shape).mean((2, 3)) for values in (own, actual)]
    found["which"] = correlations(*means).diagonal()
    return pd.DataFrame({name: values.numpy() for name, values in found.items()}, index=list(words.filters))


def _paired(metric: Callable[[Tensor, Tensor], Tensor], predicted: Tensor, actual: Tensor) -> Tensor:
    """Of each prediction with the filter of its row: (K, n) twice -> (K,)."""
    return torch.stack([metric(p[None], a[None])[0, 0] for p, a in zip(predicted, actual, strict=True)])


def _simulated(several: Sequence[Sequence[Claim]], scenes: Scenes) -> Tensor:
    """The mean prediction of several descriptions, (N h w,)."""
    return torch.stack([simulate(claims, scenes) for claims in several]).mean(0).flatten()


def planted(sample: Sample, scenes: Scenes, words: Sequence[Claim] | None = None) -> tuple[Responses, list[Claim]]:
    """Filters of known truth: each fires exactly where one word says.

    Args:
        sample: the images.
        scenes: these images, in the cells of the filters' maps.
        words: one for each filter; None for the whole vocabulary.
    """
    words = vocabulary(scenes) if words is None else list(words)
    return Responses(sample, torch.stack([simulate([word], scenes) for word in words], 1), sample.labels), words
