"""Shapes: composite objects on textured backgrounds, drawn from a seed, with masks of the objects and of their parts.

The embedded default: it needs no download, and localisation has a ground truth. Ten classes are made of parts that are
drawn one by one, and share them where they can (a wheel, a stem, an eye, a triangle). Colours are drawn without regard
to the class, and so are the background (grating, value noise or checks), position, scale, rotation, mirroring and the
proportions of the parts: a class is given by shape and arrangement alone.

Image i depends on (seed, split, i) alone, not on how many are drawn. Everything after the random numbers is elementwise
+ - * / on float32 (rotations by tan(angle / 2), triangle waves for sines), which IEEE 754 rounds alike everywhere, so
that the same seed gives the same bytes on every machine. The scenes at 32 and 64 px are the same up to pixel noise.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from xcnn.data.tensors import Labelled, TensorDataModule
from xcnn.errors import UserError

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

SUPERSAMPLING = 3  # subpixels per pixel side
BLOCK = 320  # images per random stream: the unit that makes image i independent of how many are drawn
CONTRAST = 6  # colours drawn per part; the one farthest from the background and the parts before it is taken
DARKEST_OBJECT = 0.4
NOISE = 0.05  # largest pixel noise, of 1


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
MOST_PARTS = 3
PROPORTIONS = 4


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
def draw(n: int, size: int = 32, seed: int = 0, split: str = "train", objects: bool = True) -> Labelled:
    """The first `n` images of a split, class i % 10 at i; read-only, because the next call may return the same tensors.

    A pixel belongs to the object if any of its subpixels does, and to the part that covers most of it; so a pixel
    outside the object's mask is exactly what it is without the object (`objects=False`; its masks are empty).
    """
    images = np.empty((n, 3, size, size), np.uint8)
    parts = np.zeros((n, size, size), np.uint8)
    labels = np.arange(n) % len(CLASSES)
    for start in range(0, n, BLOCK):
        rng = np.random.default_rng((seed, ("train", "test").index(split), start // BLOCK))
        scene = rng.random((BLOCK, _SCENE), np.float32)
        noise = rng.random((BLOCK, 3, size, size), np.float32)
        rows = slice(start, min(start + BLOCK, n))
        count = rows.stop - rows.start
        scene, noise = scene[:count], noise[:count]
        canvas, ground = _background(scene[:, :_GROUND], size)
        if objects:
            _paint(canvas, parts[rows], labels[rows], ground, scene[:, _GROUND:])
        canvas += (2 * NOISE) * (noise - 0.5)
        images[rows] = (np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8)
    masks = {"object": torch.from_numpy((parts > 0).astype(np.uint8)), "parts": torch.from_numpy(parts)}
    return Labelled(torch.from_numpy(images), torch.from_numpy(labels), masks)


_LATTICE = 6
_GROUND = 6 + 6 + _LATTICE * _LATTICE  # random numbers of a background: two colours, texture, lattice of the noise
_POSE = 5
_SCENE = _GROUND + _POSE + PROPORTIONS + MOST_PARTS * CONTRAST * 3


def _turn(t: Array) -> tuple[Array, Array]:
    """Cosine and sine of the angle whose half has the tangent t."""
    return (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)


def _grid(size: int) -> Array:
    return ((np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size / 2)) - np.float32(1)


def _background(u: Array, size: int) -> tuple[Array, Array]:
    """Textures (n, 3, size, size) in [0, 1] between two colours, and the mean colours (n, 3)."""
    centre = DARKEST_OBJECT * u[:, 0:3]
    other = DARKEST_OBJECT * u[:, 3:6]
    kind, tangent, frequency, phase, phase_y = (u[:, 6 + k, None, None] for k in range(5))
    cos, sin = _turn(2 * tangent - 1)
    axis = _grid(size)
    x, y = axis[None, None, :], axis[None, :, None]
    along, across = cos * x + sin * y, cos * y - sin * x
    frequency = np.float32(1) + np.float32(3) * frequency  # periods per half image
    wave = abs(2 * _fraction(frequency * along + phase) - 1)
    checks = (_fraction(frequency * along + phase) < 0.5) ^ (_fraction(frequency * across + phase_y) < 0.5)
    noise = _value_noise(u[:, 12:].reshape(-1, _LATTICE, _LATTICE), size)
    texture = np.where(kind < 1 / 3, wave, np.where(kind < 2 / 3, noise, checks.astype(np.float32)))[:, None]
    canvas = centre[:, :, None, None] * (1 - texture) + other[:, :, None, None] * texture
    return canvas, (centre + other) / 2


def _fraction(values: Array) -> Array:
    return values - np.floor(values)


def _value_noise(lattice: Array, size: int) -> Array:
    """Random values on a lattice (n, L, L), joined by smoothstep: (n, size, size) in [0, 1]."""
    place = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32((_LATTICE - 1) / size)
    cell = place.astype(np.int64)
    t = place - cell
    t = t * t * (3 - 2 * t)
    rows = lattice[:, cell] * (1 - t)[:, None] + lattice[:, cell + 1] * t[:, None]
    return rows[:, :, cell] * (1 - t) + rows[:, :, cell + 1] * t


def _paint(canvas: Array, parts: NDArray[np.uint8], labels: NDArray[np.int64], ground: Array, u: Array) -> None:
    """Draw the objects over `canvas` (n, 3, h, w) and their parts into `parts` (n, h, w), in place."""
    size = canvas.shape[-1]
    subpixels = _grid(size * SUPERSAMPLING).reshape(size, SUPERSAMPLING).T  # (S, size)
    px = subpixels[None, :, None, None, :]
    py = subpixels[:, None, None, :, None]
    for label, drawing in enumerate(DRAWINGS.values()):
        rows = np.flatnonzero(labels == label)
        if not len(rows):
            continue
        x, y = _frame(px, py, u[rows, :_POSE])
        proportions = u[rows, _POSE : _POSE + PROPORTIONS].T[:, :, None, None]
        colours = _colours(ground[rows], u[rows, _POSE + PROPORTIONS :].reshape(len(rows), MOST_PARTS, CONTRAST, 3))
        top = np.zeros(x.shape, np.uint8)  # the foremost part at each subpixel, 1, 2, ... in drawing order
        names = []
        for index, (part, inside) in enumerate(drawing(x, y, proportions)):
            names.append(PARTS.index(part) + 1)
            np.putmask(top, inside, index + 1)
        covered = np.stack([(top == index + 1).sum(0, dtype=np.uint8) for index in range(len(names))], 1)
        share = covered.astype(np.float32) / np.float32(SUPERSAMPLING**2)
        image = canvas[rows] * (1 - share.sum(1, keepdims=True))
        for index in range(len(names)):
            image += share[:, index, None] * colours[:, index, :, None, None]
        touched = covered.any(1)
        canvas[rows] = np.where(touched[:, None], image, canvas[rows])
        parts[rows] = np.where(touched, np.array(names, np.uint8)[covered.argmax(1)], 0)


def _frame(px: Array, py: Array, u: Array) -> tuple[Array, Array]:
    """Subpixels in the frames of n objects of random place, size, rotation (up to 17 degrees) and mirroring: (S^2, n, h, w) each."""
    scale, cx, cy, tangent, mirror = (u[:, k, None, None] for k in range(_POSE))
    scale = np.float32(0.5) + np.float32(0.35) * scale
    room = np.float32(1.05) - scale
    cos, sin = _turn(np.float32(0.3) * (tangent - np.float32(0.5)))
    dx, dy = (px - (2 * cx - 1) * room) / scale, (py - (2 * cy - 1) * room) / scale
    x, y = cos * dx + sin * dy, cos * dy - sin * dx
    x = x * np.where(mirror < 0.5, np.float32(-1), np.float32(1))
    return x.reshape(-1, *x.shape[2:]), y.reshape(-1, *y.shape[2:])


def _colours(ground: Array, candidates: Array) -> Array:
    """A colour for each part, (n, P, 3): of its candidates (n, P, C, 3) the farthest from all that it must stand out from."""
    chosen = [ground]
    for part in range(candidates.shape[1]):
        colours = DARKEST_OBJECT + (1 - DARKEST_OBJECT) * candidates[:, part]
        apart = np.stack([abs(colours - other[:, None]).sum(2) for other in chosen]).min(0)
        chosen.append(colours[np.arange(len(colours)), apart.argmax(1)])
    return np.stack(chosen[1:], 1)
