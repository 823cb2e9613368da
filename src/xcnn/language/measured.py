"""Words without a language model: each one follows from a measurement of the map, the image or the scores.

The specification asks for it as the default describer; the definitions below are ours where it gives none.

- The mask is activation > t * max. Area and dispersion are those of the loss, on cell centres in [0, 1]^2.
- Regions are the mask's connected components, diagonal neighbours included.
- The centroid is named on a 3 x 3 grid of the picture.
- The orientation is that of the mask's second moments, cells taken as squares and not as points. It is stated only
  where the standard deviation along it is at least `ELONGATED` times that across, to the nearest 45 degrees.
- Colours and edges are measured on the image under the map upsampled bilinearly, above the same t * max. A colour is
  dominant from `DOMINANT` of these pixels up. An edge pixel has a Sobel gradient of lightness of `EDGE` L* per pixel
  or more, which is a step of twice that.
- The filter fires for the classes whose AUROC reaches `FIRES`, at most `MOST_CLASSES` of them.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from xcnn.colour import BASIC_TERMS, basic_terms, cielab
from xcnn.language.describer import Claim, Description
from xcnn.language.evidence import FilterEvidence

ELONGATED = 2.0
DOMINANT = 0.2
EDGE = 8.0
FIRES = 0.7
MOST_CLASSES = 3
POSITIONS = ("top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right")
ORIENTATIONS = ("horizontal", "falling diagonal", "vertical", "rising diagonal")  # 0, 45, 90, 135 degrees clockwise
DIGITS = 6  # of the claims; the text rounds further
BORDERS = ("top", "bottom", "left", "right")


class MeasuredDescriber:
    """Describes a filter by measurement alone; names no part of any object, and says that no language model spoke."""

    provider = "measured"

    def describe(self, evidence: FilterEvidence) -> Description:
        """One to three sentences; of a map that is zero everywhere, only that it is dead."""
        claims = measure(evidence)
        return Description(
            text=_say(evidence, {claim.kind: claim.value for claim in claims}),
            claims=claims,
            provider=self.provider,
            model=None,
            prompt_hash=None,
            evidence_hash=evidence.evidence_hash,
        )


def measure(evidence: FilterEvidence) -> tuple[Claim, ...]:
    """Everything that the measured describer says, as claims, in plain JSON."""
    activation = evidence.activation.double()
    if not activation.any():
        return (Claim("dead", True),)
    level = evidence.threshold * activation.max()
    mask = activation > level
    image = evidence.image.double()
    upsampled = functional.interpolate(activation[None, None], size=image.shape[1:], mode="bilinear")[0, 0]
    shape = _shape(mask, (image.shape[1] / mask.shape[0], image.shape[2] / mask.shape[1]))
    return (*shape, *_look(image, upsampled > level), *_role(evidence))


def _shape(mask: Tensor, cell: tuple[float, float]) -> list[Claim]:
    """Claims on the mask (h, w), whose cells are `cell` = (height, width) image pixels large."""
    size = torch.tensor(mask.shape, dtype=torch.float64)
    points = mask.nonzero() + 0.5  # (cells, 2), y before x
    centred = points / size - (points / size).mean(0)
    row, column = ((points / size).mean(0) * 3).long().clamp(max=2).tolist()
    touched = (mask[0].any(), mask[-1].any(), mask[:, 0].any(), mask[:, -1].any())
    claims = [
        Claim("area", round(len(points) / mask.numel(), DIGITS)),
        Claim("dispersion", round(float(centred.square().sum(1).mean().sqrt()), DIGITS)),
        Claim("components", int(ndimage.label(mask.numpy(), structure=torch.ones(3, 3))[1])),
        Claim("position", POSITIONS[3 * row + column]),
        Claim("border", [side for side, touches in zip(BORDERS, touched, strict=True) if touches]),
    ]
    extent = torch.tensor(cell, dtype=torch.float64)
    offsets = centred * size * extent
    moments = offsets.T @ offsets / len(points) + torch.diag(extent.square() / 12)
    variances, axes = torch.linalg.eigh(moments)
    if variances[1] >= ELONGATED**2 * variances[0]:
        angle = math.degrees(math.atan2(axes[0, 1], axes[1, 1]))
        claims.append(Claim("orientation", ORIENTATIONS[round(angle / 45) % 4]))
    return claims


def _look(image: Tensor, mask: Tensor) -> list[Claim]:
    """Claims on the image (3, H, W) under the mask (H, W); none where the mask holds no pixel."""
    if not mask.any():
        return []
    shares = torch.bincount(basic_terms(image[:, mask].T), minlength=len(BASIC_TERMS)) / mask.sum()
    dominant = [index for index in shares.argsort(descending=True, stable=True).tolist() if shares[index] >= DOMINANT]
    gradient = lightness_gradient(image[None])[0]
    return [
        Claim("colours", {BASIC_TERMS[index]: round(float(shares[index]), DIGITS) for index in dominant}),
        Claim("edges", round(float((gradient[mask] >= EDGE).double().mean()), DIGITS)),
    ]


def lightness_gradient(images: Tensor) -> Tensor:
    """Sobel gradient of L* of images (N, 3, H, W), in L* per pixel: (N, H, W)."""
    lightness = cielab(images.movedim(1, -1))[:, None, ..., 0]
    slope = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], dtype=images.dtype) / 8
    sobel = torch.stack([slope, slope.T])[:, None]
    return functional.conv2d(functional.pad(lightness, (1, 1, 1, 1), mode="replicate"), sobel).norm(dim=1)


def _role(evidence: FilterEvidence) -> list[Claim]:
    """Claims on the classes that the filter fires for and on its score."""
    auroc = dict(zip(evidence.classes, evidence.auroc.tolist(), strict=True))
    firing = sorted((name for name in auroc if auroc[name] >= FIRES), key=lambda name: -auroc[name])
    claims = (
        []
        if evidence.auroc.isnan().all()
        else [Claim("fires_for", {name: round(auroc[name], DIGITS) for name in firing[:MOST_CLASSES]})]
    )
    return [
        *claims,
        Claim("score", {evidence.target: round(evidence.score, DIGITS)}),
        Claim("predicted", evidence.predicted),
    ]


def _say(evidence: FilterEvidence, said: Mapping[str, Any]) -> str:
    subject = f"Measured, no language model: filter {evidence.filter} of {evidence.layer}"
    if "dead" in said:
        return f"{subject} is dead on this image."
    regions = "one region" if said["components"] == 1 else f"{said['components']} regions"
    where = [f"around the {said['position']} (dispersion {said['dispersion']:.2f})"]
    if "orientation" in said:
        direction = said["orientation"]
        along = f"along the {direction}" if "diagonal" in direction else f"{direction}ly"
        where.append(f"{'elongated' if said['components'] == 1 else 'spread'} {along}")
    where.append(f"touching {_borders(said['border'])}")
    sentences = [f"{subject} is active on {_percent(said['area'])} of the map, in {regions}, {_listed(where)}."]
    if "colours" in said:
        colours = [f"{name} ({_percent(share)})" for name, share in said["colours"].items()]
        look = _listed(colours) if colours else "of no dominant colour"
        sentences.append(f"The image there is {look}, with edges on {_percent(said['edges'])} of the pixels.")
    sentences.append(_role_in_words(evidence, said))
    return " ".join(sentences)


def _role_in_words(evidence: FilterEvidence, said: Mapping[str, Any]) -> str:
    score = said["score"][evidence.target]
    effect = "leaves" if score == 0 else "raises" if score > 0 else "lowers"
    amount = "unchanged" if score == 0 else f"by {abs(score):.2g}"
    role = f"switched on alone it {effect} the probability of {evidence.target} {amount}"
    if "fires_for" in said:
        firing = [f"{name} (AUROC {auroc:.2f})" for name, auroc in said["fires_for"].items()]
        role = f"It fires for {_listed(firing)}; {role}" if firing else f"It fires for no class in particular; {role}"
    seen = "" if evidence.predicted == evidence.target else f", while the network predicts {evidence.predicted}"
    return f"{role[0].upper()}{role[1:]}{seen}."


def _borders(sides: list[str]) -> str:
    if len(sides) == 4:
        return "all four borders"
    return f"the {_listed(sides)} border{'s' * (len(sides) > 1)}" if sides else "no border"


def _percent(share: float) -> str:
    if 0.99 < share < 1:
        return "over 99%"
    return f"{100 * share:.0f}%" if share == 0 or share >= 0.01 else f"{100 * share:.1g}%"


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
