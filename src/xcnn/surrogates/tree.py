"""A decision tree in a network's place."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeClassifier, export_text

from xcnn.errors import UserError
from xcnn.surrogates.surrogate import Reason, Reasoning, Rows, Surrogate
from xcnn.surrogates.views import Explained, View

Bounds = dict[int, tuple[float, float]]  # by column: low < value <= high


class TreeSurrogate(Surrogate):
    """scikit-learn's decision tree, grown best first to a number of leaves.

    Args:
        view: what it sees, as for `Surrogate`.
        max_leaves: the most leaves, at least 2.
        seed: random seed of the order in which columns are tried.

    Raises:
        UserError: fewer than two leaves.
    """

    unit = "leaves"

    def __init__(self, view: Callable[[Explained], View] | None = None, max_leaves: int = 32, seed: int = 0):
        super().__init__(view)
        if max_leaves < 2:
            raise UserError(f"a tree needs at least 2 leaves, not {max_leaves}.")
        self.max_leaves = max_leaves
        self.model = DecisionTreeClassifier(max_leaf_nodes=max_leaves, random_state=seed)

    @property
    def parts(self) -> int:
        return self.max_leaves

    @property
    def size(self) -> int:
        return int(self.model.get_n_leaves())

    def text(self) -> str:
        """The tree as nested conditions."""
        named = [self.classes[label] for label in self.model.classes_]
        return export_text(
            self.model, feature_names=list(self.names), class_names=named, max_depth=self.max_leaves
        ).rstrip()

    def _fit(self, rows: Rows, decided: NDArray[np.int64]) -> None:
        self.model.fit(rows, decided)

    def _predict(self, rows: Rows) -> NDArray[np.int64]:
        return np.asarray(self.model.predict(rows), dtype=np.int64)

    def _reasons(self, row: Rows) -> Reasoning:
        bounds = bounds_of(self.model, int(self.model.apply(row[None])[0]))
        reasons = [Reason(self.names[column], float(row[column]), *ends) for column, ends in bounds.items()]
        return Reasoning(int(self._predict(row[None])[0]), reasons)


def bounds_of(model: DecisionTreeClassifier, leaf: int) -> Bounds:
    """The conditions of a leaf, one for each column that its path asks of, in the order of the path."""
    tree = model.tree_
    inner = np.flatnonzero(tree.children_left >= 0)
    parent = {int(child[node]): int(node) for child in (tree.children_left, tree.children_right) for node in inner}
    path = [leaf]
    while path[-1] in parent:
        path.append(parent[path[-1]])
    bounds: Bounds = {}
    for node, child in zip(path[:0:-1], path[-2::-1], strict=True):
        column, limit = int(tree.feature[node]), float(tree.threshold[node])
        low, high = bounds.get(column, (-np.inf, np.inf))
        bounds[column] = (low, min(high, limit)) if tree.children_left[node] == child else (max(low, limit), high)
    return bounds
