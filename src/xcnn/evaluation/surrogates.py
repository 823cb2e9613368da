"""How well an interpretable model stands in for a network: fidelity, accuracy and size, on images it has not seen."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from xcnn.data.tensors import Labelled
from xcnn.errors import UserError
from xcnn.evaluation.image_rows import differences, with_intervals
from xcnn.evaluation.kept import digest
from xcnn.evaluation.subject import Subject
from xcnn.fingerprint import fingerprint
from xcnn.surrogates import LastFeatures, Surrogate, View
from xcnn.surrogates.views import logits
from xcnn.training import cached

PARTS = ("train", "test")
CHUNK = 512  # images whose rows a kill can cost


@dataclass(frozen=True)
class Seen:
    """What a surrogate sees of the images of a part: rows (N, D), the network's decisions (N,) and the labels (N,)."""

    rows: Tensor
    decided: Tensor
    labels: Tensor


def seen(
    subject: Subject, view: View, described: Mapping[str, Any], folder: Path, fit_size: int | None, seed: int
) -> dict[str, Seen]:
    """Rows and decisions of training and test images, computed once for all surrogates and kept below `folder`.

    Args:
        described: plain values that the view depends on, beside the network and the images.
        fit_size: number of training images to fit on, drawn by the seed; None or more than there are takes all.

    Raises:
        UserError: as `cached`; a fit_size below 1.
    """
    if fit_size is not None and fit_size < 1:
        raise UserError(f"fit_size must be at least 1 image, or null for all, not {fit_size}.")
    found = {}
    for name in PARTS:
        part: Labelled = getattr(subject.data, name)
        if name == "train" and fit_size is not None and fit_size < len(part):
            part = part.subset(_drawn(len(part), fit_size, seed))
        about: dict[str, Any] = {
            "images": subject.data.manifest,
            "part": name,
            "weights": subject.weights,
            "n": len(part),
        }
        about |= {"fit_size": fit_size, "drawn": seed if fit_size else None, "val_share": subject.data.val_share}
        about |= {"sizes": [subject.data.train_size, subject.data.test_size], "data_seed": subject.data.seed}
        about |= {"precision": subject.precision, "input": digest(subject.prepare(part.images[:1]))}

        def kept(compute: Callable[[Tensor], Tensor], own: Mapping[str, Any], part: Labelled = part) -> Tensor:
            place = folder / fingerprint(own)
            return cached(compute, part.images, place, own, CHUNK, "float32")

        rows = kept(view, {**about, "view": dict(described)})
        decided = kept(lambda images: logits(subject, images), {**about, "view": "logits"}).argmax(1)
        found[name] = Seen(rows, decided, part.labels)
    view(subject.data.test.images[:1])  # the names of its columns
    return found


def _drawn(n: int, size: int, seed: int) -> Tensor:
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:size].sort().values


def measure_surrogate(
    make: Callable[..., Surrogate], grows: str, sizes: Sequence[float], size: float, shown: float, seed: int
) -> Callable[[Mapping[str, Seen], View, Sequence[str]], tuple[dict[str, float], dict[str, Any]]]:
    """A function that measures a kind of surrogate at several sizes.

    Args:
        make: of `Surrogate`, from the option that sets its size.
        grows: name of that option.
        sizes: its values, of the curve.
        size: its value in tables, which has the controls.
        shown: its value in the surrogate that is printed.
        seed: random seed of the shuffled decisions.

    Returns:
        A function of what is seen, the view and the classes' names that gives values and details. Values: `fidelity`
        and `accuracy` on test images, with intervals over them (`fidelity.low`), `size` and `seconds` of a fit,
        `.../<i>` of the i-th of the sizes; of controls `fidelity/majority` (the class that the network gives most),
        `fidelity/shuffled` (fitted on shuffled decisions), `fidelity/head` (the rest of the network on the features),
        and `accuracy/network`; and the differences to the first two, `fidelity.less_majority`, paired over images.
    """

    def measured(
        parts: Mapping[str, Seen], view: View, classes: Sequence[str]
    ) -> tuple[dict[str, float], dict[str, Any]]:
        train, test = parts["train"], parts["test"]

        def fit(value: float, decided: Tensor) -> Surrogate:
            return make(**{grows: value}).fit_rows(train.rows, decided, view.names, classes)

        def told(surrogate: Surrogate, suffix: str = "") -> dict[str, float]:
            hits = _hits(surrogate.predict_rows(test.rows), test)
            return {f"{name}{suffix}": float(hit.mean()) for name, hit in hits.items()} | {
                f"size{suffix}": surrogate.size
            }

        values: dict[str, float] = {}
        for place, value in enumerate(sizes):
            values |= told(fit(value, train.decided), f"/{place}")
        started = time.perf_counter()
        main = fit(size, train.decided)
        values |= {"seconds": time.perf_counter() - started, "size": main.size}
        values["fidelity/train"] = float(_hits(main.predict_rows(train.rows), train)["fidelity"].mean())
        order = torch.from_numpy(np.random.default_rng(seed).permutation(len(train.decided)))
        predicted = {
            "": main.predict_rows(test.rows),
            "/majority": torch.full_like(test.decided, int(train.decided.bincount().argmax())),
            "/shuffled": fit(size, train.decided[order]).predict_rows(test.rows),
            "/network": test.decided,
        }
        if isinstance(view, LastFeatures):
            predicted["/head"] = view.decided(test.rows)
        rows = pd.DataFrame(
            {f"{name}{who}": hit for who, each in predicted.items() for name, hit in _hits(each, test).items()}
        )
        values |= with_intervals(rows)
        for control in ("majority", "shuffled"):
            other = rows[[f"fidelity/{control}"]].set_axis(["fidelity"], axis=1)
            values |= differences(rows[["fidelity"]], other, f"less_{control}")
        printed = fit(shown, train.decided)
        reasoning = printed.explain_row(test.rows[0])
        details = {
            "fitted_on": len(train.labels),
            "columns": train.rows.shape[1],
            "unit": main.unit,
            "option": {"name": grows, "sizes": list(sizes), "size": size, "shown": shown},
            "printed": {"text": printed.text(), **{name: round(value, 4) for name, value in told(printed).items()}},
            "image": {
                "label": classes[int(test.labels[0])],
                "network": classes[int(test.decided[0])],
                "predicted": classes[reasoning.predicted],
                "reasons": [str(reason) for reason in reasoning.reasons[:8]],
            },
        }
        return values, details

    return measured


def _hits(predicted: Tensor, part: Seen) -> dict[str, NDArray[np.float64]]:
    """Of each image, whether the class is the one that the network decided, and whether it is the label: (N,) each."""
    expected = {"fidelity": part.decided, "accuracy": part.labels}
    return {name: (predicted == each).double().numpy() for name, each in expected.items()}
