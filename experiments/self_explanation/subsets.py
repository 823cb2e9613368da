"""Accuracy with prototypes of a share of the training images, against that with all of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.self_explanation.networks import STANDS_IN
from xcnn.figures import AccuracySeries
from xcnn.launch.titles import titled
from xcnn.report import Claim, Row
from xcnn.report.verdicts import Verdict

STABLE = 1.0  # points of accuracy that a subset may cost
SMALL = 0.3  # share of the training images: the paper's claim holds if accuracy is stable down to it


def by_method(rows: Sequence[Row]) -> dict[tuple[str, str, str], dict[float, Row]]:
    """Rows by data set, network and method, then by share, the smallest first."""
    found: dict[tuple[str, str, str], dict[float, Row]] = {}
    for row in sorted(rows, key=lambda row: float(row.details["share"])):
        found.setdefault((row.dataset, row.model, row.method), {})[row.details["share"]] = row
    return found


def over_shares(rows: Mapping[float, Row]) -> dict[str, Any]:
    """What a method's test accuracy with prototypes of each share is less that with all training images.

    `lost` has the differences with their intervals, `down_to` the smallest share down to which all stay within
    `STABLE` points; `counts` tells whether the data set is one of the paper's.
    """
    whole = rows[1]
    lost = {
        share: Claim("test", (row.method, row.method), (row, whole), "lower", "%").difference
        for share, row in rows.items()
        if share != 1
    }
    kept = [share for share, one in lost.items() if one is None or one.value >= -STABLE]
    down_to = min([share for share in kept if all(other in kept for other in lost if other >= share)], default=1)
    counts = whole.dataset in STANDS_IN or any(whole.dataset in others for others in STANDS_IN.values())
    return {"whole": whole, "rows": rows, "lost": lost, "down_to": down_to, "counts": counts}


def ruling(subsets: Sequence[Mapping[str, Any]]) -> Verdict:
    """By the paper's data sets, or what stands in for them: whether all methods are stable down to `SMALL`."""
    counted = [each["down_to"] for each in subsets if each["counts"]]
    if not counted:
        return "not comparable" if subsets else "not run"
    return "reproduced" if all(share <= SMALL for share in counted) else "not reproduced"


def series(rows: Sequence[Row]) -> list[AccuracySeries]:
    return [
        AccuracySeries.tested(
            f"{titled(dataset)}, {titled(model)}",
            titled(method),
            list(shares),
            [row.mean["test"] for row in shares.values()],
            [row.std["test"] for row in shares.values()],
        )
        for (dataset, model, method), shares in by_method(rows).items()
    ]
