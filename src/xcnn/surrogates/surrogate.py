"""An interpretable model that stands in for a network's decisions, as a base class."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from xcnn.errors import UserError
from xcnn.surrogates.views import Explained, View, decisions

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Reason:
    """A part of an explanation: a column, its value, and either the interval that it lies in or what it contributes.

    Args:
        name: of the column.
        value: of the image in it.
        low, high: the condition low < value <= high of a tree or a rule.
        contribution: to the logit of the predicted class, of a linear model.
    """

    name: str
    value: float
    low: float = -np.inf
    high: float = np.inf
    contribution: float | None = None

    def __str__(self) -> str:
        if self.contribution is not None:
            return f"{self.name} = {self.value:.3g} adds {self.contribution:+.3g}"
        return condition(self.name, self.low, self.high)


@dataclass(frozen=True)
class Reasoning:
    """What a surrogate predicts of an image, and its reasons, in the order in which they are read."""

    predicted: int
    reasons: Sequence[Reason]


class Surrogate(ABC):
    """Fitted to what a network decides, not to what is true.

    A subclass gives `_fit`, `_predict`, `_reasons`, `size` and `text`.

    Args:
        view: makes what the surrogate sees from the subject, such as `functools.partial(LastFeatures, layer="layer4")`;
            None where it is fitted on rows.
    """

    def __init__(self, view: Callable[[Explained], View] | None = None):
        self._make_view = view
        self.view: View | None = None
        self.names: Sequence[str] = ()
        self.classes: Sequence[str] = ()
        self._subject: Explained | None = None

    # On images

    def fit(self, subject: Explained, images: Tensor) -> Self:
        """Fit to the network's decisions on images (N, C, H, W), bytes.

        Raises:
            UserError: there is no view; see also `fit_rows`.
        """
        if self._make_view is None:
            raise UserError("there is no view: give view=... when making the surrogate, or call fit_rows.")
        self.view, self._subject = self._make_view(subject), subject
        rows = self.view(images)
        return self.fit_rows(rows, decisions(subject, images), self.view.names, subject.classes)

    def predict(self, images: Tensor) -> Tensor:
        """Classes (N,) of images (N, C, H, W)."""
        return self.predict_rows(self._seen(images))

    def explain(self, image: Tensor) -> Reasoning:
        """The reasons for one image (C, H, W)."""
        return self.explain_row(self._seen(image[None])[0])

    def fidelity(self, images: Tensor) -> float:
        """Share of the images (N, C, H, W) on which it decides as the network does."""
        predicted = self.predict(images)
        assert self._subject is not None
        return float((predicted == decisions(self._subject, images)).double().mean())

    # On rows

    def fit_rows(
        self, rows: ArrayLike, decided: ArrayLike, names: Sequence[str] = (), classes: Sequence[str] = ()
    ) -> Self:
        """Fit to decisions (N,) on rows (N, D).

        Args:
            names: of the columns; numbered without.
            classes: names of the classes, by number; numbered without.

        Raises:
            UserError: rows that are not finite or not as many as decisions, a single class, or fewer rows than the
                surrogate may have parts.
        """
        x, y = as_rows(rows), np.asarray(decided).astype(np.int64)
        if y.shape != (len(x),):
            raise UserError(f"{len(x)} rows and decisions {y.shape}: give one for each.")
        if len(x) < self.parts:
            raise UserError(
                f"{len(x)} images for {self.parts} {self.unit}: fit on more images, or allow fewer {self.unit}."
            )
        if len(np.unique(y)) < 2:
            raise UserError("the network gives all of these images one class: fit on images of several classes.")
        self.names = tuple(names) or tuple(f"column {place}" for place in range(x.shape[1]))
        self.classes = tuple(classes) or tuple(f"class {label}" for label in range(int(y.max()) + 1))
        self._fit(x, y)
        return self

    def predict_rows(self, rows: ArrayLike) -> Tensor:
        """Classes (N,) of rows (N, D)."""
        return torch.from_numpy(self._predict(self._checked(rows)))

    def explain_row(self, row: ArrayLike) -> Reasoning:
        """The reasons for one row (D,)."""
        return self._reasons(self._checked(np.asarray(row)[None])[0])

    # Of a subclass

    unit: str = "parts"  # what its size counts

    @property
    def parts(self) -> int:
        """The most that it may have of what its size counts."""
        return 1

    @property
    @abstractmethod
    def size(self) -> int:
        """How many leaves, rules or weights the fitted surrogate has."""

    @abstractmethod
    def text(self) -> str:
        """The fitted surrogate in words and numbers, to be read."""

    @abstractmethod
    def _fit(self, rows: Rows, decided: NDArray[np.int64]) -> None: ...

    @abstractmethod
    def _predict(self, rows: Rows) -> NDArray[np.int64]: ...

    @abstractmethod
    def _reasons(self, row: Rows) -> Reasoning: ...

    def _seen(self, images: Tensor) -> Tensor:
        if self.view is None:
            raise UserError("the surrogate is not fitted on images yet: call fit(subject, images) first.")
        return self.view(images)

    def _checked(self, rows: ArrayLike) -> Rows:
        if not self.names:
            raise UserError("the surrogate is not fitted yet: call fit(subject, images) or fit_rows first.")
        x = as_rows(rows)
        if x.shape[1] != len(self.names):
            raise UserError(f"fitted on {len(self.names)} columns, asked for {x.shape[1]}: give the same.")
        return x


def as_rows(rows: Any) -> Rows:
    """Rows (N, D) in float32.

    Raises:
        UserError: they are not (N, D) with a row at least, or not finite.
    """
    x = np.asarray(rows, dtype=np.float32)
    if x.ndim != 2 or not len(x):
        raise UserError(f"rows are (N, D) with N at least 1, not {x.shape}.")
    if not np.isfinite(x).all():
        raise UserError("a row has NaN or infinity: look at that image, the weights and the precision.")
    return x


def condition(name: str, low: float, high: float) -> str:
    """`filter 3 > 0.51`, `0.2 < filter 3 <= 0.51`."""
    if low == -np.inf:
        return f"{name} <= {high:.3g}"
    return f"{name} > {low:.3g}" if high == np.inf else f"{low:.3g} < {name} <= {high:.3g}"
