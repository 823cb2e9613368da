"""The pictures of a study, drawn from the configuration of a figure: its networks, methods and images."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image
from torch import Tensor

from xcnn.apps.study.store import Kind, NewItem
from xcnn.errors import UserError
from xcnn.evaluation.gallery import Gallery
from xcnn.evaluation.selection import Rule, choose, select_images
from xcnn.figures.heat_maps import overlay
from xcnn.figures.renderings import Array, Floats, upscale
from xcnn.launch import Setup
from xcnn.launch.compose import compose

FIGURES: dict[Kind, str] = {"maps": "pixel_ablation_cam/figure2", "models": "pixel_ablation_cam/figure5"}
STUDIED = ("grad_cam", "ablation_cam", "pixel_ablation_cam")  # of the paper's section 4.3


def draw(
    kind: Kind, images: int, practice: int, checks: int, overrides: Sequence[str], seed: int
) -> tuple[tuple[str, ...], list[NewItem]]:
    """The choices of a study, and its items: the first images that every network gets right.

    A check shows, among maps, the object's own pixels against noise; between two models, the same map twice, whose
    score is 0.

    Args:
        kind: three methods on one network, or one method on two networks.
        images, practice, checks: numbers of items of each role.
        overrides: of the figure's configuration (`recipe=shapes`, `trainer=gpu`).
        seed: random seed of the noise.

    Raises:
        UserError: fewer images fit than were asked for.
    """
    wanted = images + practice + checks
    setup = Setup(compose(FIGURES[kind], overrides), overrides)
    subject, options = setup.explained(), setup.options
    if kind == "maps":
        setups = {name: setup.variant(f"attribution={name}") for name in STUDIED}
        subjects = dict.fromkeys(setups, subject)
    else:
        setups = {options.network: setup, options.figure.other: setup.variant(f"model={options.figure.other}")}
        subjects = {name: own.explained() for name, own in setups.items()}
    fitting = choose(list(dict.fromkeys(subjects.values())) if kind == "models" else [subject], Rule(wanted))
    if len(fitting) < wanted:
        raise UserError(f"{len(fitting)} images fit, and {wanted} are wanted: ask for fewer images.")
    batch = select_images([subject], [], fitting)
    maps = {
        name: Gallery.of(subjects[name], {name: own.attribution(subjects[name])}, batch).explanations[name].maps.numpy()
        for name, own in setups.items()
    }
    objects, generator = subject.objects(batch).float().cpu().numpy(), np.random.default_rng(seed)
    choices, items = tuple(setups), []
    for place, identifier in enumerate(batch.ids):
        role = "practice" if place < practice else "check" if place < practice + checks else "image"
        shown: Mapping[str, Array] = {name: each[place] for name, each in maps.items()}
        expected = None
        if role == "check" and kind == "models":
            shown, expected = dict.fromkeys(choices, shown[choices[0]]), "0"
        elif role == "check":
            expected = choices[place % len(choices)]
            size = maps[expected].shape[1:]
            shown = {c: objects[place] if c == expected else generator.random(size) for c in choices}
        title = subject.classes[int(batch.labels[place])]
        items.append(NewItem(identifier, title, _pictures(batch.images[place], shown), role, expected))
    return choices, items


def _pictures(image: Tensor, maps: Mapping[str, Array]) -> dict[str, bytes]:
    values = image.numpy() / 255.0
    return {"": _png(upscale(values)), **{name: _png(overlay(values, each)) for name, each in maps.items()}}


def _png(picture: Floats) -> bytes:
    """(3, H, W) in [0, 1] as PNG."""
    stream = io.BytesIO()
    Image.fromarray((np.moveaxis(picture, 0, -1).clip(0, 1) * 255).round().astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()
