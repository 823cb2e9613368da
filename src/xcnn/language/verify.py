"""Checking what a description claims against the evidence, whoever wrote it.

Each kind of claim is measured again here by another route than the describer's (variances for dispersion, a
neighbour graph for regions, a closed form for the orientation, coordinates for the upsampling). Shared are only the
definitions: the thresholds in `xcnn.language.measured` and the colour prototypes. The kinds, and their values:

- `dead`: bool. `area`, `dispersion`, `edges`: number. `components`: count. `predicted`: class name.
- `position`: one of `POSITIONS`. `orientation`: one of `ORIENTATIONS`. `border`: list of the `BORDERS` touched.
- `colours`: share by colour term; empty for none dominant.
- `fires_for`: AUROC by class, the highest ones; empty for none that reaches `FIRES`. `score`: score by class.
- `colour`: one term that is dominant. `class`: one class whose AUROC reaches `FIRES`. Words without numbers say these.
- `part`: name of the part that most of the activation lies on, or `object` for any part; only where there are masks.

Shares, dispersion and AUROC agree to within 0.005, scores to two significant digits and in sign; a value on the border
of two names supports both.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from xcnn.colour import BASIC_TERMS, cielab, prototypes
from xcnn.language.describer import Claim, Description
from xcnn.language.evidence import FilterEvidence
from xcnn.language.measured import BORDERS, DOMINANT, EDGE, ELONGATED, FIRES, ORIENTATIONS, POSITIONS

BACKGROUND, OBJECT = "background", "object"
_TOLERANCE = 0.005
_ROUNDING = 1e-6

Outcome = Literal["supported", "contradicted", "untestable"]


@dataclass(frozen=True)
class Verdict:
    """What became of a claim.

    Attributes:
        claim: the claim.
        outcome: `untestable` if its kind is unknown, its value malformed, or the evidence holds nothing to test it on.
        measured: what the evidence says instead, in plain JSON; None where there is nothing to measure.
    """

    claim: Claim
    outcome: Outcome
    measured: Any


@dataclass(frozen=True, eq=False)
class PartMasks:
    """Where the parts of an image's object are: the truth that a describer does not see.

    Attributes:
        labels: (H, W), 0 for the background, else one more than the part's index into `names`.
        names: of the parts.
    """

    labels: NDArray[np.integer[Any]]
    names: Sequence[str]


def verify(description: Description, evidence: FilterEvidence, parts: PartMasks | None = None) -> list[Verdict]:
    """A verdict on each claim, in the order of the claims.

    The evidence need not be what was described: checking a description against another filter's evidence is how its
    specificity is tested.

    Args:
        description: whose claims.
        evidence: what they are checked against.
        parts: masks of the evidence's image, without which a claim on a part is untestable.
    """
    again = _Remeasured(evidence, parts)
    return [_judge(claim, again) for claim in description.claims]


def lies_on(evidence: FilterEvidence, parts: PartMasks) -> str | None:
    """The part that has the largest share of the activation, or `background`; None for a dead map."""
    return _Remeasured(evidence, parts).lies_on


class _Remeasured:
    """The evidence's measurements, each taken when it is first asked for."""

    def __init__(self, evidence: FilterEvidence, parts: PartMasks | None = None) -> None:
        self.evidence, self.parts = evidence, parts
        self.map = evidence.activation.double().numpy()
        self.image = evidence.image.double().numpy()
        self.level = evidence.threshold * self.map.max()
        self.mask = self.map > self.level
        self.alive = bool(self.mask.any())
        self.auroc = dict(zip(evidence.classes, evidence.auroc.double().numpy().tolist(), strict=True))

    @cached_property
    def area(self) -> float:
        return np.count_nonzero(self.mask) / self.mask.size

    @cached_property
    def dispersion(self) -> float:
        if not self.alive:
            return 0.0
        rows, columns = np.nonzero(self.mask)
        return math.hypot(np.std(rows) / self.mask.shape[0], np.std(columns) / self.mask.shape[1])

    @cached_property
    def components(self) -> int:
        cells = np.argwhere(self.mask)
        if not self.alive:
            return 0
        neighbours = KDTree(cells).sparse_distance_matrix(KDTree(cells), 1.5)  # 1 apart, or sqrt 2 across a corner
        return int(connected_components(neighbours, directed=False)[0])

    @cached_property
    def centroid(self) -> tuple[float, float]:
        """Row and column in [0, 1], from the top left of the picture."""
        row, column = ndimage.center_of_mass(self.mask)
        return (float(row) + 0.5) / self.mask.shape[0], (float(column) + 0.5) / self.mask.shape[1]

    @cached_property
    def orientation(self) -> tuple[float, float]:
        """Angle of the long axis in degrees, clockwise from the horizontal, and the ratio of long to short."""
        height, width = np.array(self.image.shape[1:]) / self.mask.shape
        rows, columns = np.nonzero(self.mask)
        y, x = rows * height, columns * width
        yy, xx, xy = np.var(y) + height**2 / 12, np.var(x) + width**2 / 12, np.mean(x * y) - np.mean(x) * np.mean(y)
        spread = math.hypot(xx - yy, 2 * xy)
        ratio = math.sqrt((xx + yy + spread) / (xx + yy - spread))
        return math.degrees(math.atan2(2 * xy, xx - yy) / 2), ratio

    @cached_property
    def border(self) -> list[str]:
        rows, columns = np.nonzero(self.mask)
        bottom, right = self.mask.shape[0] - 1, self.mask.shape[1] - 1
        touched = (0 in rows, bottom in rows, 0 in columns, right in columns)
        return [side for side, touches in zip(BORDERS, touched, strict=True) if touches]

    @cached_property
    def upsampled(self) -> np.ndarray:
        """The map (H, W) on the image."""
        at = [
            (np.arange(pixels) + 0.5) * cells / pixels - 0.5
            for pixels, cells in zip(self.image.shape[1:], self.map.shape, strict=True)
        ]
        found: np.ndarray = ndimage.map_coordinates(self.map, np.meshgrid(*at, indexing="ij"), order=1, mode="nearest")
        return found

    @property
    def pixels(self) -> np.ndarray:
        """The mask (H, W) on the image."""
        return self.upsampled > self.level

    @cached_property
    def lies_on(self) -> str | None:
        if self.parts is None or not self.alive:
            return None
        shares = np.bincount(self.parts.labels.ravel(), self.upsampled.ravel(), minlength=len(self.parts.names) + 1)
        return (BACKGROUND, *self.parts.names)[int(shares.argmax())]

    @cached_property
    def colours(self) -> dict[str, float]:
        lab, terms = prototypes()
        under = self.evidence.image.double().movedim(0, -1)[self.pixels]
        nearest = terms.numpy()[KDTree(lab.numpy()).query(cielab(under).numpy())[1]]
        return {term: float(np.mean(nearest == index)) for index, term in enumerate(BASIC_TERMS)}

    @cached_property
    def edges(self) -> float:
        lightness = cielab(self.evidence.image.double().movedim(0, -1))[..., 0].numpy()
        gradient = np.hypot(*(ndimage.sobel(lightness, axis=axis, mode="nearest") / 8 for axis in (0, 1)))
        return float(np.mean(gradient[self.pixels] >= EDGE))


def _judge(claim: Claim, again: _Remeasured) -> Verdict:
    check, fits = _CHECKS.get(claim.kind, (None, None))
    if check is None or fits is None or not fits(claim.value):
        return Verdict(claim, "untestable", None)
    if not again.alive and claim.kind in _OF_THE_MASK:
        return Verdict(claim, "contradicted", None)  # there is no such place
    agrees, measured = check(claim.value, again)
    return Verdict(claim, "untestable" if agrees is None else "supported" if agrees else "contradicted", measured)


def _close(claimed: float, measured: float) -> bool:
    return abs(claimed - measured) <= _TOLERANCE + _ROUNDING


def _position(name: str, again: _Remeasured) -> tuple[bool, str]:
    cell = divmod(POSITIONS.index(name), 3)
    inside = all(
        index - _ROUNDING <= 3 * along <= index + 1 + _ROUNDING
        for index, along in zip(cell, again.centroid, strict=True)
    )
    row, column = (min(int(3 * along), 2) for along in again.centroid)
    return inside, POSITIONS[3 * row + column]


def _orientation(name: str, again: _Remeasured) -> tuple[bool, str | None]:
    angle, ratio = again.orientation
    off = (angle - 45 * ORIENTATIONS.index(name) + 90) % 180 - 90
    measured = ORIENTATIONS[round(angle / 45) % 4] if ratio >= ELONGATED else None
    return ratio >= ELONGATED - _ROUNDING and abs(off) <= 22.5 + _ROUNDING, measured


def _colours(shares: dict[str, float], again: _Remeasured) -> tuple[bool, dict[str, float]]:
    measured = {term: share for term, share in again.colours.items() if term in shares or share >= DOMINANT}
    if not shares:
        return all(share < DOMINANT + _ROUNDING for share in again.colours.values()), measured
    return all(_close(share, again.colours.get(term, 0.0)) for term, share in shares.items()), measured


def _fires_for(claimed: dict[str, float], again: _Remeasured) -> tuple[bool | None, dict[str, float]]:
    known = {name: value for name, value in again.auroc.items() if not math.isnan(value)}
    if not known or not claimed.keys() <= known.keys():
        return None, {}
    measured = {name: value for name, value in known.items() if name in claimed or value >= FIRES}
    if not claimed:
        return not measured, measured
    right = all(_close(value, known[name]) and known[name] >= FIRES - _ROUNDING for name, value in claimed.items())
    weakest = min(known[name] for name in claimed)
    return right and all(known[name] <= weakest + _ROUNDING for name in known.keys() - claimed.keys()), measured


def _score(claimed: dict[str, float], again: _Remeasured) -> tuple[bool | None, dict[str, float]]:
    evidence = again.evidence
    if claimed.keys() != {evidence.target}:
        return None, {evidence.target: evidence.score}
    agrees = math.isclose(claimed[evidence.target], evidence.score, rel_tol=0.05, abs_tol=_ROUNDING)
    return agrees, {evidence.target: evidence.score}


def _class(name: str, again: _Remeasured) -> tuple[bool | None, float | None]:
    auroc = again.auroc.get(name, math.nan)
    return (None, None) if math.isnan(auroc) else (auroc >= FIRES - _ROUNDING, auroc)


def _part(name: str, again: _Remeasured) -> tuple[bool | None, str | None]:
    if again.parts is None or name not in (OBJECT, *again.parts.names):
        return None, None
    return again.lies_on == name or (name == OBJECT and again.lies_on != BACKGROUND), again.lies_on


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _name(value: Any) -> bool:
    return isinstance(value, str)


def _numbers_by_name(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_name, value)) and all(map(_number, value.values()))


_OF_THE_MASK = {"position", "orientation", "border", "colours", "colour", "edges", "part"}
_CHECKS: dict[str, tuple[Callable[[Any, _Remeasured], tuple[bool | None, Any]], Callable[[Any], bool]]] = {
    "dead": (lambda value, again: (value != again.alive, not again.alive), lambda value: isinstance(value, bool)),
    "area": (lambda value, again: (_close(value, again.area), again.area), _number),
    "dispersion": (lambda value, again: (_close(value, again.dispersion), again.dispersion), _number),
    "components": (lambda value, again: (value == again.components, again.components), _number),
    "position": (_position, POSITIONS.__contains__),
    "orientation": (_orientation, ORIENTATIONS.__contains__),
    "border": (
        lambda value, again: (set(value) == set(again.border), again.border),
        lambda value: isinstance(value, list) and all(side in BORDERS for side in value),
    ),
    "colours": (_colours, _numbers_by_name),
    "colour": (
        lambda value, again: (again.colours[value] >= DOMINANT - _ROUNDING, again.colours[value]),
        BASIC_TERMS.__contains__,
    ),
    "class": (_class, _name),
    "part": (_part, _name),
    "edges": (lambda value, again: (_close(value, again.edges), again.edges), _number),
    "fires_for": (_fires_for, _numbers_by_name),
    "score": (_score, _numbers_by_name),
    "predicted": (
        lambda value, again: (value == again.evidence.predicted, again.evidence.predicted),
        _name,
    ),
}
