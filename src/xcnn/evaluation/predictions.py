"""What a network, or the prototypes that explain it, predict of all training and test images."""

from collections.abc import Callable, Sequence

import pandas as pd
import torch
from torch import Tensor

from xcnn.data.tensors import Labelled, TensorDataModule
from xcnn.evaluation.subject import Subject
from xcnn.prototypes import Columns
from xcnn.report.cells import Cell


@torch.inference_mode()
def accuracy(subject: Subject) -> float:
    """Share of the test images that the network classifies rightly."""
    batches, normalise = subject.data.test_dataloader(), subject.normalise
    right = sum(int((subject.network(normalise(images)).argmax(1) == labels).sum()) for images, labels in batches)
    return right / len(subject.data.test)


@torch.inference_mode()
def top_shares(
    network: Callable[[Tensor], Tensor], data: TensorDataModule, part: Labelled, first: Sequence[int] = (1,)
) -> list[float]:
    """Shares of the images whose class is among the network's first choices.

    Args:
        network: a batch of the data set's loader to logits: images in [0, 1], or features where the data are these.
        data: the data set of the images.
        part: the images.
        first: numbers of choices.
    """
    hits = torch.zeros(len(first), dtype=torch.int64)
    for batch, labels in data.loader(part, batch_size=256):
        ranked = network(batch).topk(max(first)).indices == labels[:, None]
        hits += torch.stack([ranked[:, :n].sum() for n in first])
    return [float(share) for share in hits / len(part)]


@torch.no_grad()
def predict(subject: Subject, images: Tensor) -> dict[str, Tensor]:
    """Of bytes (n, C, H, W): the class predicted, that of the network's classifier, and whether there was a tie."""
    with subject.autocast():
        images = images.to(subject.device)
        if subject.method is None:
            parts = [subject.network(subject.prepare(part)).argmax(1) for part in images.split(subject.batch)]
            return {"predicted": torch.cat(parts)}
        if isinstance(subject.method, Columns):
            return {"predicted": subject.method.predict(images)}
        found = subject.method.explain(images)
    predictions = {"predicted": found.predicted, "network": found.logits.argmax(1)}
    return {**predictions, "tied": found.tied} if hasattr(found, "tied") else predictions


def prediction_rows(cell: Cell, subject: Subject, chunk: int, of: Sequence[str] = ("train", "test")) -> pd.DataFrame:
    """A row for each training image, then each test image: `part`, `label` and what `predict` gives."""
    parts: dict[str, Labelled] = {name: getattr(subject.data, name) for name in of}
    sizes = {name: len(part) for name, part in parts.items()}

    def measure(places: range) -> pd.DataFrame:
        frames, start = [], 0
        for name, part in parts.items():
            own = slice(max(places.start - start, 0), max(min(places.stop - start, sizes[name]), 0))
            start += sizes[name]
            if own.start < own.stop:
                found = {key: values.cpu().numpy() for key, values in predict(subject, part.images[own]).items()}
                frames.append(pd.DataFrame({"part": name, "label": part.labels[own].numpy(), **found}))
        return pd.concat(frames)

    return cell.rows(sum(sizes.values()), chunk, measure)


def accuracies(rows: pd.DataFrame) -> dict[str, float]:
    """In %: `train`, `test`, right predictions; `agrees/<part>`, as the network's own classifier; `tied/<part>`,
    decided by distances because several classes had as many locations."""
    values = {}
    for part, frame in rows.groupby("part"):
        values[str(part)] = 100 * float((frame["predicted"] == frame["label"]).mean())
        if "network" in frame:
            values[f"agrees/{part}"] = 100 * float((frame["predicted"] == frame["network"]).mean())
        if "tied" in frame:
            values[f"tied/{part}"] = 100 * float(frame["tied"].mean())
    return values
