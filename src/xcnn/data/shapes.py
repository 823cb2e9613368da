"""Shapes: composite objects on textured backgrounds, drawn from a seed, with masks of the objects and of their parts.

The embedded default: it needs no download, and localisation has a ground truth. Ten classes are made of parts that are
drawn one by one, and share them where they can (a wheel, a stem, an eye, a triangle). Colours are drawn without regard
to the class (the object's brighter than the background's), and so are the background (grating, checks or value noise),
position, scale, rotation, mirroring and the proportions of the parts: a class is given by shape and arrangement alone.

Image i depends on (seed, split, i) alone, not on how many are drawn. Everything after the random numbers is elementwise
+ - * / on float32 (rotations by tan(angle / 2), triangle waves for sines), which IEEE 754 rounds alike everywhere, so
that the same seed gives the same bytes on every machine. The scenes at 32 and 64 px are the same up to pixel noise.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from xcnn.data.tensors import Labelled, TensorDataModule
from xcnn.errors import UserError

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

Split = Literal["train", "test"]
STREAMS = {"train": 0, "test": 1}
BLOCK = 320  # images that share a random stream: what makes image i independent of how many are drawn
SUPERSAMPLING = 3  # subpixels along a pixel's side
LATTICE = 6  # points along the image's side between which the value noise is smooth
GROUND_BRIGHTEST, OBJECT_DARKEST = 0.3, 0.5  # of 1, in each colour channel
CANDIDATES = 6  # colours drawn for a part; the one that stands out most is taken
NOISE = 0.05  # largest deviation of a pixel's channel, of 1


def ellipse(x: Array, y: Array, cx: Array | float, cy: Array | float, rx: Array | float, ry: Array | float) -> Mask:
    u, v = (x - cx) / rx, (y - cy) / ry
    return u * u + v * v < 1


def disc(x: Array, y: Array, cx: Array | float, cy: Array | float, r: Array | float) -> Mask:
    return ellipse(x, y, cx, cy, r, r)


def box(x: Array, y: Array, cx: Array | float, cy: Array | float, half_x: Array | float, half_y: Array | float) -> Mask:
    return (abs(x - cx) < half_x) & (abs(y - cy) < half_y)


def trapezoid(
    x: Array,
    y: Array,
    cx: Array | float,
    top: Array | float,
    bottom: Array | float,
    half_top: Array | float,
    half_bottom: Array | float,
) -> Mask:
    """Symmetric about x = cx, between y = top and y = bottom; a triangle where one half-width is 0."""
    slope = (half_bottom - half_top) / (bottom - top)
    return (y > top) & (y < bottom) & (abs(x - cx) < half_top + slope * (y - top))


# Each drawing takes points (x, y) of the object's frame, [-1, 1]^2 with y downwards, and proportions r[k] in [0, 1). It
# yields the part's name and where it is, back to front; a part may come in several pieces.
Parts = Iterator[tuple[str, Mask]]


def house(x: Array, y: Array, r: Array) -> Parts:
    width, eaves = 0.5 + 0.2 * r[0], -0.25 + 0.3 * r[1]
    yield "wall", box(x, y, 0, (eaves + 0.9) / 2, width, (0.9 - eaves) / 2)
    yield "roof", trapezoid(x, y, 0, -0.9, eaves, 0, width + 0.2)
    yield "door", box(x, y, 0.4 * (r[2] - 0.5), 0.62, 0.15, 0.28)


def fir(x: Array, y: Array, r: Array) -> Parts:
    width = 0.5 + 0.2 * r[0]
    yield "trunk", box(x, y, 0, 0.7, 0.1 + 0.08 * r[1], 0.25)
    yield "crown", trapezoid(x, y, 0, -0.95, 0.0, 0, 0.8 * width) | trapezoid(x, y, 0, -0.5, 0.55, 0, width)


def car(x: Array, y: Array, r: Array) -> Parts:
    wheel, roof = 0.2 + 0.08 * r[0], -0.4 - 0.15 * r[1]
    shift = 0.3 * (r[2] - 0.5)
    yield "cabin", trapezoid(x, y, shift, roof, 0.0, 0.3, 0.55)
    yield "body", box(x, y, 0, 0.2, 0.92, 0.22)
    yield "wheel", disc(x, y, -0.5, 0.42, wheel) | disc(x, y, 0.5, 0.42, wheel)


def truck(x: Array, y: Array, r: Array) -> Parts:
    wheel, top = 0.2 + 0.08 * r[0], -0.55 - 0.2 * r[1]
    front = 0.3 + 0.15 * r[2]  # where the cargo ends
    yield "cargo", box(x, y, (front - 0.95) / 2, (top + 0.45) / 2, (front + 0.95) / 2, (0.45 - top) / 2)
    yield "cabin", box(x, y, (front + 1) / 2, 0.17, (0.94 - front) / 2, 0.28)
    yield "wheel", disc(x, y, -0.55, 0.5, wheel) | disc(x, y, 0.55, 0.5, wheel)


def boat(x: Array, y: Array, r: Array) -> Parts:
    deck = 0.3 + 0.15 * r[0]
    yield "mast", box(x, y, 0, (deck - 0.95) / 2, 0.06, (deck + 0.95) / 2)
    yield "hull", trapezoid(x, y, 0, deck, 0.85, 0.9, 0.4 + 0.2 * r[1])
    yield "sail", (x > 0.06) & trapezoid(x, y, 0.06, -0.9, deck - 0.12, 0, 0.6 + 0.2 * r[2])


def face(x: Array, y: Array, r: Array) -> Parts:
    apart, mouth = 0.25 + 0.12 * r[0], 0.1 + 0.2 * r[1]
    eye = 0.11 + 0.06 * r[2]
    yield "head", ellipse(x, y, 0, 0, 0.75 + 0.15 * r[3], 0.85)
    yield "eye", disc(x, y, -apart, -0.2, eye) | disc(x, y, apart, -0.2, eye)
    yield "mouth", (y > mouth + 0.1) & disc(x, y, 0, mouth, 0.45)


def flower(x: Array, y: Array, r: Array) -> Parts:
    petal, ring = 0.22 + 0.05 * r[0], 0.36 + 0.06 * r[1]
    yield "stem", box(x, y, 0, 0.45, 0.06 + 0.03 * r[2], 0.5)
    around = [(1.0, 0.0), (0.5, 0.866), (-0.5, 0.866), (-1.0, 0.0), (-0.5, -0.866), (0.5, -0.866)]
    petals = [disc(x, y, ring * dx, ring * dy - 0.3, petal) for dx, dy in around]
    yield "petal", np.logical_or.reduce(petals)
    yield "core", disc(x, y, 0, -0.3, 0.2)


def mushroom(x: Array, y: Array, r: Array) -> Parts:
    rim = -0.05 + 0.2 * r[0]
    yield "stem", box(x, y, 0, (rim + 0.9) / 2, 0.16 + 0.12 * r[1], (0.9 - rim) / 2)
    yield "cap", (y < rim) & ellipse(x, y, 0, rim, 0.7 + 0.2 * r[2], rim + 0.9)


def fish(x: Array, y: Array, r: Array) -> Parts:
    height = 0.35 + 0.15 * r[0]
    yield "tail", trapezoid(y, x, 0, 0.3, 0.92, 0, 0.35 + 0.2 * r[1])
    yield "body", ellipse(x, y, -0.2, 0, 0.72, height)
    yield "eye", disc(x, y, -0.55, -0.1, 0.1 + 0.04 * r[2])


def lamp(x: Array, y: Array, r: Array) -> Parts:
    rim = -0.15 + 0.2 * r[0]
    yield "stem", box(x, y, 0, 0.4, 0.06 + 0.03 * r[1], 0.5)
    yield "base", (y < 0.92) & ellipse(x, y, 0, 0.92, 0.4 + 0.15 * r[2], 0.25)
    yield "shade", trapezoid(x, y, 0, -0.9, rim, 0.25 + 0.1 * r[3], 0.7)


DRAWINGS: dict[str, Callable[[Array, Array, Array], Parts]] = {
    drawing.__name__: drawing for drawing in (house, fir, car, truck, boat, face, flower, mushroom, fish, lamp)
}
CLASSES = tuple(DRAWINGS)
PARTS = (
    *("wall", "roof", "door", "trunk", "crown", "cabin", "body", "wheel", "cargo", "mast", "hull", "sail"),
    *("head", "eye", "mouth", "stem", "petal", "core", "cap", "tail", "base", "shade"),
)
MOST_PARTS = 3  # of a class


class Shapes(TensorDataModule):
    """Drawn scenes with `masks["object"]` (0/1) and `masks["parts"]` (0 background, else index + 1 into `PARTS`).

    See `TensorDataModule` for the other arguments; `root` is not looked at.

    Args:
        size: side of the images in pixels, 32 or 64.
        n_train: training images, at least one per class.
        n_test: test images, likewise.
        draw_seed: of the drawing; None takes `seed`. Fix it where several training seeds are to see the same data.
    """

    name = "shapes"

    def __init__(
        self,
        root: str | Path = "data",
        batch_size: int = 64,
        val_share: float = 0.0,
        seed: int = 0,
        train_size: int | None = None,
        test_size: int | None = None,
        size: int = 32,
        n_train: int = 4000,
        n_test: int = 1000,
        draw_seed: int | None = None,
    ):
        super().__init__(root, batch_size, val_share, seed, train_size, test_size)
        if size not in (32, 64):
            raise UserError(f"size must be 32 or 64 px, not {size}.")
        for option, n in (("n_train", n_train), ("n_test", n_test)):
            if n < len(CLASSES):
                raise UserError(f"{option} is {n}: give at least {len(CLASSES)}, one image per class.")
        self.size, self.n_train, self.n_test = size, n_train, n_test
        self.draw_seed = seed if draw_seed is None else draw_seed
        if self.draw_seed < 0:
            raise UserError(f"The seed of the drawing must be at least 0, not {self.draw_seed}.")

    def load(self) -> tuple[Labelled, Labelled, tuple[str, ...]]:
        train = draw(self.n_train, self.size, self.draw_seed, "train")
        return train, draw(self.n_test, self.size, self.draw_seed, "test"), CLASSES


@lru_cache(maxsize=4)
def draw(n: int, size: int = 32, seed: int = 0, split: Split = "train", objects: bool = True) -> Labelled:
    """The first `n` images of a split, class i % 10 at i; read-only, because the next call may return the same tensors.

    A pixel belongs to the object if any of its subpixels does, and to the part that covers most of it; so a pixel
    outside the object's mask is exactly what it is without the object (`objects=False`, which leaves the masks empty).
    """
    images = np.empty((n, 3, size, size), np.uint8)
    parts = np.zeros((n, size, size), np.uint8)
    labels = np.arange(n) % len(CLASSES)
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        rng = np.random.default_rng((seed, STREAMS[split], start // BLOCK))
        scenes = _scenes(rng, stop - start)
        canvas, ground = _background(scenes, size)
        if objects:
            _paint(canvas, parts[start:stop], labels[start:stop], ground, scenes)
        canvas += 2 * NOISE * (_uniform(rng, stop - start, 3, size, size) - 0.5)
        images[start:stop] = (canvas.clip(0, 1) * 255 + 0.5).astype(np.uint8)
    masks = {"object": torch.from_numpy((parts > 0).astype(np.uint8)), "parts": torch.from_numpy(parts)}
    return Labelled(torch.from_numpy(images), torch.from_numpy(labels), masks)


class _Scenes(NamedTuple):
    """Random numbers in [0, 1) of n images, in the order in which a block draws them."""

    grounds: Array  # (n, 2, 3): the two colours of the background
    textures: Array  # (n, 5): kind, direction, frequency, phases
    lattices: Array  # (n, LATTICE, LATTICE): of the value noise
    poses: Array  # (n, 5): scale, place, rotation, mirroring
    proportions: Array  # (n, 4)
    colours: Array  # (n, MOST_PARTS, CANDIDATES, 3)


def _scenes(rng: np.random.Generator, n: int) -> _Scenes:
    shapes = ((2, 3), (5,), (LATTICE, LATTICE), (5,), (4,), (MOST_PARTS, CANDIDATES, 3))
    return _Scenes(*(_uniform(rng, n, *shape) for shape in shapes))


def _uniform(rng: np.random.Generator, n: int, *shape: int) -> Array:
    """The first n of a block's random numbers: the stream moves on by a whole block, however many are wanted."""
    return rng.random((BLOCK, *shape), np.float32)[:n]


def _background(scenes: _Scenes, size: int) -> tuple[Array, Array]:
    """Textures between two colours, (n, 3, size, size) in [0, 1], and the mean of the two, (n, 3)."""
    kind, tangent, frequency, phase, other_phase = scenes.textures.T[:, :, None, None]
    cos, sin = _turn(2 * tangent - 1)
    axis = _centres(size)
    x, y = axis, axis[:, None]
    periods = 1 + 3 * frequency  # in half an image
    along = periods * (cos * x + sin * y) + phase
    across = periods * (cos * y - sin * x) + other_phase
    grating = abs(2 * _fraction(along) - 1)
    checks = ((_fraction(along) < 0.5) ^ (_fraction(across) < 0.5)).astype(np.float32)
    noise = _value_noise(scenes.lattices, size)
    texture = np.where(kind < 1 / 3, grating, np.where(kind < 2 / 3, checks, noise))[:, None]
    one, other = (GROUND_BRIGHTEST * scenes.grounds).swapaxes(0, 1)[..., None, None]
    return one * (1 - texture) + other * texture, (one + other)[..., 0, 0] / 2


def _value_noise(lattices: Array, size: int) -> Array:
    """Random values on a lattice, (n, L, L), joined by smoothstep: (n, size, size) in [0, 1]."""
    place = (_centres(size) + 1) * ((LATTICE - 1) / 2)
    cell = place.astype(np.int64)
    t = place - cell.astype(np.float32)
    t = t * t * (3 - 2 * t)
    rows = lattices[:, cell] * (1 - t)[:, None] + lattices[:, cell + 1] * t[:, None]
    return rows[:, :, cell] * (1 - t) + rows[:, :, cell + 1] * t


def _paint(canvas: Array, parts: NDArray[np.uint8], labels: NDArray[np.int64], ground: Array, scenes: _Scenes) -> None:
    """Draw the objects over `canvas` (n, 3, h, w) and the places of their parts into `parts` (n, h, w)."""
    for label, drawing in enumerate(DRAWINGS.values()):
        rows = np.flatnonzero(labels == label)
        own = _Scenes(*(numbers[rows] for numbers in scenes))
        x, y = _subpixels(own.poses, canvas.shape[-1])
        foremost = np.zeros(x.shape, np.uint8)  # 0 background, else the part's place in the order of drawing, from 1
        names = []
        for name, inside in drawing(x, y, own.proportions.T[:, :, None, None]):
            names.append(PARTS.index(name) + 1)
            np.putmask(foremost, inside, len(names))
        covered = np.stack([(foremost == k + 1).sum(0, np.uint8) for k in range(len(names))], 1)  # of SUPERSAMPLING^2
        share = covered.astype(np.float32) / SUPERSAMPLING**2
        colours = _colours(ground[rows], own.colours)
        image = canvas[rows] * (1 - share.sum(1, keepdims=True))
        for k in range(len(names)):
            image += share[:, k, None] * colours[:, k, :, None, None]
        touched = covered.max(1) > 0
        canvas[rows] = np.where(touched[:, None], image, canvas[rows])
        parts[rows] = np.where(touched, np.array(names, np.uint8)[covered.argmax(1)], 0)


def _subpixels(poses: Array, size: int) -> tuple[Array, Array]:
    """Where the subpixels lie in the frames of n objects, x and y: (SUPERSAMPLING^2, n, size, size) each.

    Objects fill 0.6 to 0.95 of the side and are turned by up to 17 degrees.
    """
    scale, right, down, turn, mirror = poses.T[:, :, None, None]
    scale = 0.6 + 0.35 * scale
    room = 1.05 - scale
    cos, sin = _turn(0.3 * (turn - 0.5))
    centres = _centres(size * SUPERSAMPLING).reshape(size, SUPERSAMPLING).T
    x = (centres[None, :, None, None, :] - room * (2 * right - 1)) / scale
    y = (centres[:, None, None, :, None] - room * (2 * down - 1)) / scale
    x, y = cos * x + sin * y, cos * y - sin * x
    x = np.where(mirror < 0.5, -x, x)
    whole = (SUPERSAMPLING**2, *x.shape[2:])
    return x.reshape(whole), y.reshape(whole)


def _colours(ground: Array, candidates: Array) -> Array:
    """A colour for each part, (n, P, 3), of its candidates in [0, 1], (n, P, C, 3).

    It is the one farthest from all that it must stand out from: the background's, (n, 3), and the parts' before it.
    """
    candidates = OBJECT_DARKEST + (1 - OBJECT_DARKEST) * candidates
    chosen = [ground]
    for part in range(candidates.shape[1]):
        offered = candidates[:, part]
        apart = np.stack([abs(offered - colour[:, None]).sum(2) for colour in chosen]).min(0)
        chosen.append(offered[np.arange(len(offered)), apart.argmax(1)])
    return np.stack(chosen[1:], 1)


def _turn(t: Array) -> tuple[Array, Array]:
    """Cosine and sine of the angle whose half has the tangent t."""
    return (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)


def _centres(size: int) -> Array:
    """Centres of `size` cells that divide [-1, 1]."""
    return (np.arange(size, dtype=np.float32) + 0.5) / (size / 2) - 1


def _fraction(values: Array) -> Array:
    return values - np.floor(values)
