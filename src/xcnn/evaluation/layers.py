"""What each layer of a network sees: receptive fields, strongest patches, maximising images, and probes by depth."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from xcnn.data.tensors import scale
from xcnn.errors import UserError
from xcnn.evaluation.subject import Subject
from xcnn.figures import SeenByFilter, layer_sheet, save_png
from xcnn.filters import TopPatches, maximise_images, top_patches, total_variation
from xcnn.models.graph import ReceptiveField, TracedNetwork, receptive_fields
from xcnn.models.split import split_along, split_at_each

GREY = 0.5  # around a patch that the image's border cuts off


@dataclass(frozen=True)
class Probe:
    """A linear probe: logistic regression on a layer's features.

    Args:
        images: training images to fit on, at most.
        grid: places along each side to which maps are pooled.
        c: inverse strength of the penalty, for standardised features.
    """

    images: int = 2000
    grid: int = 2
    c: float = 0.1

    def __post_init__(self) -> None:
        if self.images < 1 or self.grid < 1 or self.c <= 0:
            raise UserError(f"a probe needs images, grid and c above 0, not {self.images}, {self.grid} and {self.c}.")


@dataclass(frozen=True)
class Shown:
    """What of a layer is maximised and drawn.

    Args:
        filters: the first filters of a layer that fire on some image, so many.
        patches: strongest images of each.
        ascent: options of `maximise_images`: steps, step_size, jitter, blur, blur_every and tv.
        seed: random seed of its start.
    """

    filters: int
    patches: int
    ascent: dict[str, Any]
    seed: int = 0


def probe_accuracies(subject: Subject, network: nn.Module, layers: Sequence[str], probe: Probe) -> dict[str, float]:
    """Accuracy on test images of a linear probe at each layer of a network, fitted on training images.

    Raises:
        UserError: as `split_along`, or training images of a single class.
    """
    trunk, _ = split_along(network, layers)

    @torch.inference_mode()
    def rows(images: Tensor) -> list[Tensor]:
        parts = [trunk(inputs) for inputs in _batches(subject, images)]
        return [torch.cat([_pooled(part, probe.grid) for part in of_layer]) for of_layer in zip(*parts, strict=True)]

    train, test = subject.data.train, subject.data.test
    chosen = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[: probe.images]
    labels = train.labels[chosen].numpy()
    if len(set(labels.tolist())) < 2:
        raise UserError("the probe's training images are of a single class: give more of them.")
    accuracies = {}
    for layer, fitted, seen in zip(layers, rows(train.images[chosen]), rows(test.images), strict=True):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=probe.c, max_iter=300))
        model.fit(fitted.numpy(), labels)
        accuracies[layer] = float(model.score(seen.numpy(), test.labels.numpy()))
    return accuracies


def _pooled(features: Tensor, grid: int) -> Tensor:
    return F.adaptive_avg_pool2d(features.float(), grid).flatten(1).cpu()


def _batches(subject: Subject, images: Tensor) -> Iterator[Tensor]:
    """Network inputs of bytes (N, C, H, W), on the device."""
    return (subject.prepare(part.to(subject.device)) for part in images.split(subject.batch))


def seen_by_layers(
    subject: Subject, layers: Sequence[str], shown: Shown
) -> tuple[dict[str, float], list[SeenByFilter], dict[str, Any]]:
    """Receptive fields, strongest patches in test images, and maximising images of each layer's first live filters.

    Returns:
        Values, `<name>/<layer>`: `field` (largest side in pixels), `live` (share of the filters that fire on some
        image), `reached` and `reached_plain` (median over filters of the activation of the maximising image, over the
        largest on a real image, with and without jitter, blur and total variation), `rough` and `rough_plain` (total
        variation of these images; `rough_real` of the test images). Then what figures show, and details.

    Raises:
        UserError: as `split_at_each`, `receptive_fields`, `top_patches` and `maximise_images`.
    """
    images = subject.data.test.images
    size: tuple[int, int, int] = tuple(images.shape[1:])  # type: ignore[assignment]
    splits = split_at_each(subject.network, layers)
    fields = receptive_fields(TracedNetwork(subject.network), list(layers), size)
    plain = {**shown.ascent, "jitter": 0, "blur": 0.0, "tv": 0.0}
    values: dict[str, float] = {"rough_real": float(total_variation(scale(images)).mean())}
    drawn: list[SeenByFilter] = []
    details: dict[str, Any] = {"fields": {}, "filters": {}}
    for (layer, split), field in zip(splits.items(), fields, strict=True):
        top = top_patches(split, _batches(subject, images), shown.patches)
        live = (top.activation[:, 0] > 0).nonzero()[:, 0]
        chosen = live[: shown.filters].tolist()
        if not chosen:
            raise UserError(f"no filter of layer {layer!r} fires on any test image: choose another layer.")
        best = top.activation[chosen, 0]
        found = {}
        for name, options in (("", shown.ascent), ("_plain", plain)):
            found[name] = maximise_images(
                subject.network, layer, chosen, size, subject.normalise, seed=shown.seed, **options
            )
            values[f"reached{name}/{layer}"] = float((found[name].activation / best).median())
            values[f"rough{name}/{layer}"] = float(total_variation(found[name].images).mean())
        values |= {f"field/{layer}": max(field.side), f"live/{layer}": len(live) / len(top.activation)}
        details["fields"][layer] = list(field.side)
        details["filters"][layer] = chosen
        height, width = (len(spans) for spans in (field.rows, field.columns))
        left, upper, right, lower = field.box(height // 2, width // 2)  # of the place that is maximised
        for i, index in enumerate(chosen):
            patches = [_patch(images, top, field, index, place) for place in range(shown.patches)]
            picture = found[""].images[i, :, upper:lower, left:right].cpu().numpy()
            reached = float(found[""].activation[i])
            drawn.append(SeenByFilter(layer, index, picture, reached, patches, top.activation[index].tolist()))
    return values, drawn, details


def _patch(images: Tensor, top: TopPatches, field: ReceptiveField, index: int, place: int) -> Any:
    """The receptive field of a strongest place, (C, h, w) in [0, 1], grey beyond the image's border."""
    image = scale(images[int(top.image[index, place])])
    left, upper, right, lower = field.box(int(top.row[index, place]), int(top.column[index, place]))
    patch = torch.full((len(image), *field.side), GREY)
    above = field.side[0] - (lower - upper) if upper == 0 else 0
    before = field.side[1] - (right - left) if left == 0 else 0
    patch[:, above : above + lower - upper, before : before + right - left] = image[:, upper:lower, left:right]
    return patch.numpy()


def draw_layers(drawn: Sequence[SeenByFilter], folder: Path, name: str, title: str) -> str:
    """Draw what filters see into a cell's folder; the file's name."""
    file = f"{name}.png"
    save_png(layer_sheet(drawn, title), folder / file)
    return file
