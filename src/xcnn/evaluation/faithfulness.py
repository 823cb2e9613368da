"""How faithful explanations are (Pixel Ablation-CAM, section 4.2): the cells of tables 1 and 2."""

import time
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from xcnn.attribution import Method, upsample
from xcnn.data.pictures import PictureBatch
from xcnn.evaluation.image_rows import Columns, image_rows, with_differences
from xcnn.evaluation.subject import Subject
from xcnn.metrics.faithfulness import Outputs, Protocol, drop_share, increased, wins
from xcnn.report.cells import Cell, Measured

OUTPUTS = ("confidence", "activation")


def measure_faithfulness(
    cell: Cell, subject: Subject, method: Method, protocols: Sequence[Protocol], chunk: int
) -> Measured:
    """The network's outputs for each image and for what each protocol leaves of it, for the class predicted."""
    seconds = {"total": 0.0, "masked_passes": 0.0, "pictures": 0.0}

    @torch.inference_mode()
    def columns(batch: PictureBatch) -> Columns:
        pictures = subject.scaled(batch)
        inputs = subject.normalise(pictures)
        explanation = method.explain(inputs)
        y = Outputs.of(explanation.logits, explanation.targets)
        found: dict[str, Tensor] = {
            "target": explanation.targets,
            "confidence": y.confidence,
            "activation": y.activation,
            "ablations": explanation.ablations,
        }
        maps = upsample(explanation.maps, pictures.shape[2:])
        masks: dict[str, Tensor] = {}
        for protocol in protocols:
            if protocol.kept not in masks:
                masks[protocol.kept] = protocol.masks(maps)
                found[f"kept/{protocol.kept}"] = masks[protocol.kept].mean((1, 2))
            shown = protocol.explanation(pictures, masks[protocol.kept], subject.normalise)
            started = time.perf_counter()
            o = Outputs.of(method.logits(shown), explanation.targets)
            seconds["masked_passes"] += time.perf_counter() - started
            found |= {f"{output}/{protocol.name}": getattr(o, output) for output in OUTPUTS}
        seconds["pictures"] += len(batch.ids)
        return found

    started = time.perf_counter()
    with subject.autocast():  # once around all, so that weights are cast to bfloat16 once
        rows = image_rows(cell, subject, chunk, columns)
    seconds["total"] = time.perf_counter() - started
    rows = rows[~rows["broken"]]
    values = {f"{name}": float(column.mean()) for name, column in _per_picture(rows).items()}
    values |= {
        "top1": float((rows["label"] == rows["target"]).mean()),
        "ablations": float(rows["ablations"].mean()),
        **{str(name): float(rows[name].mean()) for name in rows if str(name).startswith("kept/")},
    }
    details = {
        # Of this process: images whose rows an earlier one left are not in it.
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "passes": 1 + len(protocols),
    }
    return subject.measured(values, len(rows), details=details)


def _per_picture(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Each metric of each protocol as a value per image, in percent; NaN where it is undefined."""
    found = {}
    for output in OUTPUTS:
        y = torch.tensor(rows[output].to_numpy(float))
        for column in (str(name) for name in rows if str(name).startswith(f"{output}/")):
            o = torch.tensor(rows[column].to_numpy(float))
            name = column.removeprefix(f"{output}/")
            found[f"drop_{output}/{name}"] = pd.Series(100 * drop_share(y, o).numpy(), rows.index)
            found[f"increase_{output}/{name}"] = pd.Series(100.0 * increased(y, o).numpy(), rows.index)
    return found


def pool_faithfulness(
    rows: Mapping[str, pd.DataFrame], compared: Sequence[str], references: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Means with 95 % intervals, wins, and paired differences, of all methods on the same images.

    Args:
        rows: of each method.
        compared: the methods among which an image is won.
        references: the methods that all others are compared with: differences to the first are named `less`, to any
            further one `less_<method>`.
    """
    broken = {method: int(frame["broken"].sum()) for method, frame in rows.items()}
    rows = {method: frame[~frame["broken"]] for method, frame in rows.items()}
    per_picture = {method: pd.DataFrame(_per_picture(frame)) for method, frame in rows.items()}
    values: dict[str, dict[str, float]] = {}
    for method, frame in rows.items():
        found = {
            "top1": float((frame["label"] == frame["target"]).mean()),
            "nonpositive": int((frame["activation"] <= 0).sum()),
            "broken": broken[method],
            "ablations": float(frame["ablations"].mean()),
            **{str(name): float(frame[name].mean()) for name in frame if str(name).startswith("kept/")},
        }
        values[method] = found | with_differences(method, per_picture, references)
    among = [method for method in compared if method in per_picture]
    if len(among) > 1:
        for column in per_picture[among[0]]:
            metric, protocol = str(column).split("/")
            if metric.startswith("drop_"):
                drops = torch.tensor(np.stack([per_picture[method][column].to_numpy() for method in among]))
                won = 100 * wins(drops).nanmean(1)
                for method, share in zip(among, won.tolist(), strict=True):
                    values[method][f"win_{metric.removeprefix('drop_')}/{protocol}"] = share
    return values
