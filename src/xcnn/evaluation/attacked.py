"""Do explanations or conformal sets betray an attack? Scores of an image alone, with and without it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from xcnn.attribution import Method
from xcnn.data.pictures import PictureBatch
from xcnn.errors import UserError
from xcnn.evaluation.image_rows import Columns, image_rows, with_ends
from xcnn.evaluation.robustness import ATTACKS, NOISES, Attacks
from xcnn.evaluation.subject import Subject
from xcnn.metrics.detection import auroc
from xcnn.metrics.ranking import at_size
from xcnn.metrics.similarity import rank_correlation
from xcnn.report.cells import Cell
from xcnn.surrogates import ConformalSets

CLEAN = "clean"
VERSIONS = (CLEAN, *ATTACKS, *NOISES)
SETS = ("lac", "aps", "raps")
BESIDE = {
    "fgsm": "noise",
    "pgd": "noise",
    "deepfool": "noise_deepfool",
    "deepfool_matched": "noise",
}  # of about its norm
BLUR = 3  # side of the kernel in pixels


def attacked_rows(
    cell: Cell, subject: Subject, methods: Mapping[str, Method], attacks: Attacks, sigma: float, chunk: int
) -> pd.DataFrame:
    """A row for each image: of each version (`fgsm`) what a detector can see of it alone.

    Args:
        methods: attribution methods by name.
        sigma: of the Gaussian blur, in pixels, that a version is compared with itself under.

    Returns:
        Columns `logits/fgsm`; `squeezed/fgsm`, the L1 distance between the probabilities of the version and of the
        blurred version (feature squeezing, Xu et al. 2018); `grad_cam/fgsm`, 1 less the rank correlation between their
        maps for the version's predicted class, 0 where a map is constant.

    Raises:
        UserError: sigma is not above 0.
    """
    if not sigma > 0:
        raise UserError(f"sigma is the blur's standard deviation in pixels: choose it above 0, not {sigma}.")

    def columns(batch: PictureBatch) -> Columns:
        pictures = subject.scaled(batch)
        with torch.no_grad():
            targets = subject.network(subject.normalise(pictures)).argmax(1)
        made = attacks.made(cell, subject, pictures, targets)
        found: dict[str, Any] = {}
        for version, change in {CLEAN: torch.zeros_like(pictures), **made}.items():
            own = pictures + change
            inputs, soft = (subject.normalise(each) for each in (own, gaussian_blur(own, [BLUR, BLUR], [sigma, sigma])))
            with torch.no_grad():
                logits, soft_logits = subject.network(inputs), subject.network(soft)
            found[f"logits/{version}"] = list(logits.cpu().numpy())
            found[f"squeezed/{version}"] = (logits.softmax(1) - soft_logits.softmax(1)).abs().sum(1)
            classes = logits.argmax(1)
            for name, method in methods.items():
                maps, others = (at_size(method(each, classes), own.shape[2:]) for each in (inputs, soft))
                found[f"{name}/{version}"] = (1 - rank_correlation(maps, others)).nan_to_num(0)
        return found

    return image_rows(cell, subject, chunk, columns)


def detection(rows: pd.DataFrame, methods: Mapping[str, Any], alpha: float, seed: int, **raps: Any) -> dict[str, float]:
    """How well each score tells attacked images from the images themselves, and what the sets still cover.

    Sets are calibrated on a random half of the unchanged images; all else is of the other half, and scores are of those
    of its images that the network gets right.

    Args:
        rows: as of `attacked_rows`.
        methods: names of the attribution methods.
        alpha: of the sets.
        seed: random seed of the halves.
        raps: penalty and rank of RAPS.

    Returns:
        By attack or noise and score (`fgsm/confidence`): `auroc` against the unchanged images, `beside` against noise
        of the attack's norm, with intervals over images; by version `turned`, the share given another class, and by
        version and kind of set (`fgsm/lac`) `coverage` and `size`.

    Raises:
        UserError: as `ConformalSets.fit`; no image of a half is classified rightly.
    """
    rows = rows[~rows["broken"].astype(bool)].reset_index(drop=True)
    labels = torch.tensor(rows["label"].to_numpy(np.int64))
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    calibration, test = order[: len(rows) // 2], order[len(rows) // 2 :]
    probabilities = {
        version: torch.from_numpy(np.stack(rows[f"logits/{version}"].to_list())).double().softmax(1)
        for version in VERSIONS
    }
    right = (probabilities[CLEAN].argmax(1) == labels)[test]
    if not right.any():
        raise UserError("the network gets none of the images right: train longer, or take more images.")
    scores: dict[str, dict[str, Tensor]] = {version: {} for version in VERSIONS}
    values: dict[str, float] = {"accuracy": float(right.double().mean())}
    sets = {
        kind: ConformalSets(kind, alpha, seed=seed, **raps).fit(probabilities[CLEAN][calibration], labels[calibration])  # type: ignore[arg-type]
        for kind in SETS
    }
    for version in VERSIONS:
        own = probabilities[version][test]
        scores[version]["confidence"] = 1 - own.max(1).values
        values[f"turned/{version}"] = float((own.argmax(1) != labels[test])[right].double().mean())
        for kind in SETS:
            found = sets[kind].predict(own)
            scores[version][f"set_{kind}"] = found.sum(1).double()
            values[f"coverage/{version}/{kind}"] = float(found.gather(1, labels[test][:, None]).double().mean())
            values[f"size/{version}/{kind}"] = float(found.sum(1).double().mean())
        for name in ("squeezed", *methods):
            column = torch.tensor(rows[f"{name}/{version}"].to_numpy(np.float64))[test]
            scores[version][name if name == "squeezed" else f"map_{name}"] = column
    names = list(scores[CLEAN])
    tables = {
        version: torch.stack([each[name][right] for name in names], 1).numpy() for version, each in scores.items()
    }
    for version in VERSIONS[1:]:
        pairs = {"auroc": CLEAN, **({"beside": BESIDE[version]} if version in BESIDE else {})}
        for metric, other in pairs.items():
            told = auroc(tables[version], tables[other], paired=True)
            values |= with_ends([f"{metric}/{version}/{name}" for name in names], told)
    return values
