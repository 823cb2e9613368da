"""How sure a network may be: its confidence against its accuracy, and what conformal sets cover."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from xcnn.data.pictures import PictureBatch
from xcnn.errors import UserError
from xcnn.evaluation.image_rows import image_rows
from xcnn.evaluation.subject import Subject
from xcnn.metrics.calibration import reliability
from xcnn.report.cells import Cell
from xcnn.surrogates import ConformalSets, coverage_band, fit_temperature, threshold
from xcnn.surrogates.conformal import Score

SCORES: tuple[Score, ...] = get_args(Score)
NAIVE = {"naive": "aps", "naive_raw": "aps"}  # not calibrated; the second without temperature scaling
SETS = (*SCORES, *NAIVE)
STRATA = {"1": (0, 1), "2 to 3": (2, 3), "4 to 10": (4, 10), "over 10": (11, 10**9)}  # sizes of sets
THIRDS = ("small", "medium", "large")  # of the images, by the share of the image that the object's boxes cover
FEWEST = 20  # images of a group whose coverage is told, in all splits together a hundred times as many


@torch.inference_mode()
def logit_rows(cell: Cell, subject: Subject, chunk: int) -> pd.DataFrame:
    """A row for each image: its logits, and the share of the image that the boxes of its objects cover."""

    def columns(batch: PictureBatch) -> Mapping[str, Sequence[Any]]:
        logits = subject.network(subject.normalise(subject.scaled(batch))).cpu()  # bfloat16 would give ties
        height, width = batch.images.shape[2:]
        covered = [
            float(((box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])).sum() / (height * width)) if len(box) else np.nan
            for box in batch.boxes
        ]
        return {"logits": list(logits.numpy()), "object": covered}

    return image_rows(cell, subject, chunk, columns)


@dataclass(frozen=True)
class Halves:
    """Random splits of the images into halves, one to calibrate on and one to test on.

    Args:
        splits: number of splits.
        temperature_share: share of the images that the temperature is fitted on, which are in no half.
        seed: random seed of the splits.
    """

    splits: int = 100
    temperature_share: float = 0.1
    seed: int = 0

    def places(self, n: int) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Of n images those of the temperature, and the two halves of each split.

        Raises:
            UserError: a share outside (0, 1), or so few images that a part is empty.
        """
        held = round(self.temperature_share * n)
        if self.splits < 1 or not 0 < held < n - 1:
            raise UserError(
                f"{self.splits} splits and a temperature_share of {self.temperature_share} leave a part of {n} images "
                "empty: give at least one split and a share in (0, 1), or more images."
            )
        order = torch.randperm(n, generator=torch.Generator().manual_seed(self.seed))
        rest = order[held:]
        halves = []
        for split in range(self.splits):
            drawn = rest[torch.randperm(len(rest), generator=torch.Generator().manual_seed(1 + self.seed + split))]
            halves.append((drawn[: len(rest) // 2], drawn[len(rest) // 2 :]))
        return order[:held], halves


def uncertainty(
    rows: pd.DataFrame, alpha: float, halves: Halves, penalty: float, rank: int
) -> tuple[dict[str, float], dict[str, Any]]:
    """Calibration of the network, and coverage and size of its sets over random splits.

    Args:
        rows: as of `logit_rows`; broken images are left out.
        alpha: of the sets, in (0, 1).
        halves: the splits.
        penalty, rank: of RAPS.

    Returns:
        Values and details: of each kind of set (`aps`) the mean `coverage/aps` and `size/aps`, the share of `empty`
        sets and of sets with one class (`single`), the number of splits `outside` the exact 95 % band of one split,
        whether the mean is `within` the band of the mean, and coverage by class (`worst_class`, `best_class`: the
        lowest and the highest), by size of set (`worst_size`) and by size of object (`small`, `medium`, `large`).

    Raises:
        UserError: as `Halves.places` and `ConformalSets`.
    """
    rows = rows[~rows["broken"].astype(bool)]
    logits = torch.from_numpy(np.stack(rows["logits"].to_list())).double()
    labels = torch.tensor(rows["label"].to_numpy(np.int64))
    held, splits = halves.places(len(labels))
    temperature = fit_temperature(logits[held], labels[held])
    rest = splits[0][0].sort().values, splits[0][1].sort().values
    tested = torch.cat(rest).sort().values
    probabilities = {"raw": logits.softmax(1), "scaled": (logits / temperature).softmax(1)}
    bins = {name: reliability(p[tested], labels[tested]) for name, p in probabilities.items()}
    n_calibration, n_test = (len(part) for part in splits[0])
    one = coverage_band(n_calibration, n_test, alpha)
    mean = coverage_band(n_calibration, n_test, alpha, len(splits))
    right = (logits[tested].argmax(1) == labels[tested]).double()
    values = {
        "accuracy": float(right.mean()),
        "temperature": temperature,
        "ece": bins["raw"].error,
        "ece/scaled": bins["scaled"].error,
        "band_low": mean[0],  # of the mean, at 95 %
        "band_high": mean[1],
    }
    groups = _groups(rows, labels)
    coverages = {}
    for kind in SETS:
        sets = ConformalSets(NAIVE.get(kind, kind), alpha, penalty=penalty, rank=rank, seed=halves.seed)  # type: ignore[arg-type]
        scores = sets.scores(probabilities["raw" if kind == "naive_raw" else "scaled"])
        own = scores.gather(1, labels[:, None])[:, 0]
        found = _over_splits(scores, own, groups, splits, alpha, kind in NAIVE)
        coverages[kind] = found.pop("coverages")
        each = np.array(coverages[kind])
        found["coverage"] = float(each.mean())
        found["outside"] = float(((each < one[0]) | (each > one[1])).sum())
        found["within"] = float(mean[0] <= each.mean() <= mean[1])
        values |= {f"{name}/{kind}": value for name, value in found.items()}
    details = {
        "calibration": n_calibration,
        "test": n_test,
        "held": len(held),
        "splits": len(splits),
        "alpha": alpha,
        "band": list(one),
        "coverages": {kind: [round(value, 5) for value in each] for kind, each in coverages.items()},
        "reliability": {
            name: {
                part: [None if x != x else round(float(x), 4) for x in values.tolist()]
                for part, values in found._asdict().items()
            }
            for name, found in bins.items()
        },
    }
    return values, details


def _groups(rows: pd.DataFrame, labels: Tensor) -> dict[str, Tensor]:
    """Masks of the images of each class, and of the thirds by the size of the object, where that is known."""
    groups = {f"class {label}": labels == label for label in labels.unique().tolist()}
    share = torch.tensor(rows["object"].to_numpy(np.float64))
    known = ~share.isnan()
    if known.any():
        edges = torch.quantile(share[known], torch.tensor([1 / 3, 2 / 3], dtype=torch.float64))
        third = torch.bucketize(share, edges)
        groups |= {name: known & (third == place) for place, name in enumerate(THIRDS)}
    return groups


def _over_splits(
    scores: Tensor,
    own: Tensor,
    groups: Mapping[str, Tensor],
    splits: Sequence[tuple[Tensor, Tensor]],
    alpha: float,
    naive: bool,
) -> dict[str, Any]:
    """Means over the splits, and `coverages` of each; of groups, covered images over images of all splits together."""
    coverages, totals = [], torch.zeros(3).double()
    members = torch.stack(list(groups.values())).double()
    covered, counted = torch.zeros(len(groups)).double(), torch.zeros(len(groups)).double()
    strata = torch.zeros(len(STRATA), 2).double()
    for calibration, test in splits:
        limit = 1 - alpha if naive else float(threshold(own[calibration], alpha))
        inside = (own[test] <= limit).double()
        sizes = (scores[test] <= limit).sum(1)
        coverages.append(float(inside.mean()))
        totals += torch.stack([sizes.double().mean(), (sizes == 0).double().mean(), (sizes == 1).double().mean()])
        covered += members[:, test] @ inside
        counted += members[:, test].sum(1)
        for place, (low, high) in enumerate(STRATA.values()):
            stratum = (sizes >= low) & (sizes <= high)
            strata[place] += torch.stack([inside[stratum].sum(), stratum.double().sum()])
    size, empty, single = (totals / len(splits)).tolist()
    found: dict[str, Any] = {"coverages": coverages, "size": size, "empty": empty, "single": single}
    enough = FEWEST * len(splits)
    by_group = {
        name: float(covered[place] / counted[place])
        for place, name in enumerate(groups)
        if counted[place] >= (1 if name in THIRDS else enough)
    }
    found |= {name: by_group[name] for name in THIRDS if name in by_group}
    classes = [value for name, value in by_group.items() if name not in THIRDS]
    if classes:
        found |= {"worst_class": min(classes), "best_class": max(classes)}
    by_size = [float(hits / n) for hits, n in strata.tolist() if n >= enough]
    return found | ({"worst_size": min(by_size)} if by_size else {})
