"""A sparse linear classifier in a network's place."""

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from xcnn.errors import UserError
from xcnn.surrogates.surrogate import Reason, Reasoning, Rows, Surrogate
from xcnn.surrogates.views import Explained, View


class SparseLinearSurrogate(Surrogate):
    """scikit-learn's multinomial logistic regression with an L1 penalty, on standardised columns.

    Args:
        view: what it sees, as for `Surrogate`.
        strength: C, the inverse of the penalty's weight: the larger, the more weights are not zero.
        max_iter: the most passes over the images; the fit may end before it has converged.
        seed: random seed of their order.

    Raises:
        UserError: a strength that is not above 0, or no pass.
    """

    unit = "weights"

    def __init__(
        self,
        view: Callable[[Explained], View] | None = None,
        strength: float = 0.1,
        max_iter: int = 100,
        seed: int = 0,
    ):
        super().__init__(view)
        if not strength > 0 or max_iter < 1:
            raise UserError(f"strength is above 0 and max_iter at least 1, not {strength} and {max_iter}.")
        self.scaler = StandardScaler()
        self.model = LogisticRegression(
            l1_ratio=1, C=strength, solver="saga", max_iter=max_iter, tol=1e-3, random_state=seed
        )

    @property
    def size(self) -> int:
        return int(np.count_nonzero(self.model.coef_))

    def text(self) -> str:
        """A line for each class: its columns by the size of their weights, of standardised columns."""
        lines = []
        for label, weights, bias in zip(self._labels, self._weights, self._biases, strict=True):
            order = np.argsort(-abs(weights), kind="stable")[: np.count_nonzero(weights)]
            terms = " ".join(f"{weights[column]:+.2f} {self.names[column]}" for column in order)
            lines.append(f"{self.classes[label]}: {bias:+.2f} {terms}".rstrip())
        return "\n".join(lines)

    @property
    def _labels(self) -> NDArray[np.int64]:
        return np.asarray(self.model.classes_, dtype=np.int64)

    @property
    def _weights(self) -> NDArray[np.float64]:
        """(classes, D); of two classes scikit-learn keeps the second's alone."""
        own = self.model.coef_
        return np.concatenate([-own, own]) if len(own) < len(self.model.classes_) else own

    @property
    def _biases(self) -> NDArray[np.float64]:
        own = self.model.intercept_
        return np.concatenate([-own, own]) if len(own) < len(self.model.classes_) else own

    def _fit(self, rows: Rows, decided: NDArray[np.int64]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.model.fit(self.scaler.fit_transform(rows), decided)

    def _predict(self, rows: Rows) -> NDArray[np.int64]:
        return np.asarray(self.model.predict(self.scaler.transform(rows)), dtype=np.int64)

    def _reasons(self, row: Rows) -> Reasoning:
        predicted = int(self._predict(row[None])[0])
        weights = self._weights[int(np.flatnonzero(self._labels == predicted)[0])]
        terms = weights * self.scaler.transform(row[None])[0]
        order = np.argsort(-abs(terms), kind="stable")
        reasons = [
            Reason(self.names[column], float(row[column]), contribution=float(terms[column]))
            for column in order
            if weights[column]
        ]
        return Reasoning(predicted, reasons)
