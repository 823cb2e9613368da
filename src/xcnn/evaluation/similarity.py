"""How similar methods' maps are to each other and to the objects' masks, at the pixels and at the features' resolution.

Of every map the positive part counts, as in localisation: what speaks for the class.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from xcnn.attribution import Method
from xcnn.data.pictures import PictureBatch
from xcnn.evaluation.image_rows import Columns, image_rows, metrics_of, pool_metrics, with_intervals
from xcnn.evaluation.kept import kept
from xcnn.evaluation.subject import Subject
from xcnn.metrics.ranking import at_size
from xcnn.metrics.similarity import auc_judd, dice, jaccard, kl, nss, pcc, sim, top_share
from xcnn.report.cells import Cell, Measured

PIXELS, BLURRED = "pixels", "blurred"
STORED = "map/"  # columns of standardised maps, float16 as bytes, from which pairs of methods are compared


def measure_similarity(
    cell: Cell, subject: Subject, method: Method, references: Mapping[str, Method], grid: str, share: float, chunk: int
) -> Measured:
    """Rows of every measure of similarity with the references' maps and the objects, for the class predicted.

    The references' maps are kept beside the cells for all methods.

    Args:
        references: methods by name, the one named `grid` among them.
        grid: the reference to whose resolution maps are blurred, by averaging over its cells.
        share: the share of a reference's locations that count as fixated, and of both maps' that overlap.
    """

    def columns(batch: PictureBatch) -> Columns:
        pictures = subject.scaled(batch)
        inputs = subject.normalise(pictures)
        with subject.autocast():
            explanation = method.explain(inputs)
            maps = kept(
                cell.folder.parent / "references",
                {"protocol": cell.settings.get("protocol"), "references": cell.settings["variants"]},
                subject,
                inputs,
                lambda: {name: each(inputs, explanation.targets) for name, each in references.items()},
            )
        found: dict[str, Tensor | list[bytes]] = {"target": explanation.targets}
        sizes = {PIXELS: pictures.shape[2:], BLURRED: maps[grid].shape[1:]}
        objects = subject.objects(batch)
        for resolution, size in sizes.items():
            own = resized(explanation.maps, pictures.shape[2:], size)
            for name, other in maps.items():
                theirs = resized(other, pictures.shape[2:], size)
                values = alike(own, theirs, top_share(theirs, share, seed=1), share)
                found |= {f"{metric}_{name}/{resolution}": each for metric, each in values.items()}
            covered = averaged(objects.double(), size)
            inside = covered >= 0.5
            values = alike(own, covered, inside, inside.double().mean((1, 2)))
            found |= {f"{metric}_objects/{resolution}": each for metric, each in values.items()}
            found[STORED + resolution] = [each.numpy().tobytes() for each in standardised(own).half().cpu()]
        return found

    rows = image_rows(cell, subject, chunk, columns)
    rows = rows[~rows["broken"]]
    return subject.measured({name: float(rows[name].mean()) for name in metrics_of(rows)}, len(rows))


def alike(maps: Tensor, others: Tensor, fixated: Tensor, share: float | Tensor) -> dict[str, Tensor]:
    """Every measure of similarity of maps (N, h, w) with others, of which bool (N, h, w) are fixated."""
    top = top_share(maps, share)
    return {
        "pcc": pcc(maps, others),
        "sim": sim(maps, others),
        "kl": kl(maps, others),
        "auc": auc_judd(maps, fixated),
        "nss": nss(maps, fixated),
        "iou": jaccard(top, fixated),
        "dice": dice(top, fixated),
    }


def resized(maps: Tensor, pixels: Sequence[int], size: Sequence[int]) -> Tensor:
    """The positive part of maps (N, h, w) at the pixels, averaged over the cells of a coarser size."""
    return averaged(at_size(maps, pixels).clamp(min=0), size)


def averaged(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps (N, H, W) averaged over the cells of a coarser size, (N, h, w)."""
    height, width = size
    return functional.adaptive_avg_pool2d(maps[:, None], (height, width))[:, 0]


def standardised(maps: Tensor) -> Tensor:
    """Maps (N, h, w) with mean 0 and deviation 1; NaN where a map is constant: means of products are then PCCs."""
    deviation, mean = torch.std_mean(maps.double(), (1, 2), correction=0, keepdim=True)
    return (maps - mean) / deviation.where(deviation > 0, torch.nan)


def pool_similarity(rows: Mapping[str, pd.DataFrame], reference: str) -> dict[str, dict[str, float]]:
    """What `pool_metrics` finds, and `pair_<resolution>/<method>`: PCC with every method, with 95 % intervals."""
    values = pool_metrics(rows, [reference])
    kept = {method: frame[~frame["broken"]] for method, frame in rows.items()}
    names = list(kept)
    for resolution in (PIXELS, BLURRED):
        each = []
        for maps in zip(*(frame[STORED + resolution] for frame in kept.values()), strict=True):
            table = np.stack([np.frombuffer(one, np.float16) for one in maps]).astype(np.float32)
            each.append(table @ table.T / table.shape[1])
        pairs = np.stack(each)  # (images, methods, methods)
        for place, method in enumerate(names):
            columns = [f"pair_{resolution}/{name}" for name in names]
            values[method] |= with_intervals(pd.DataFrame(pairs[:, place], columns=columns))
    return values
