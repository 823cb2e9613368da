"""A rule list in a network's place: if ..., else if ..., else."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeClassifier

from xcnn.errors import UserError
from xcnn.surrogates.surrogate import Reason, Reasoning, Rows, Surrogate, condition
from xcnn.surrogates.tree import Bounds, bounds_of
from xcnn.surrogates.views import Explained, View


@dataclass(frozen=True)
class Rule:
    """A conjunction of conditions and the class that it gives.

    Args:
        bounds: by column, low < value <= high.
        label: the class.
        covered: training images that come to this rule and fulfil it.
        right: those of them that the network gives the class.
    """

    bounds: Bounds
    label: int
    covered: int
    right: int

    def holds(self, rows: Rows) -> NDArray[np.bool_]:
        """Which rows (N, D) fulfil it, (N,)."""
        inside = np.ones(len(rows), dtype=bool)
        for column, (low, high) in self.bounds.items():
            values = rows[:, column].astype(np.float64)  # as scikit-learn's trees compare them with their thresholds
            inside &= (values > low) & (values <= high)
        return inside


class RuleSurrogate(Surrogate):
    """An ordered list of rules, each the best leaf of a small tree of what the rules before it leave.

    As PART does (Frank & Witten 1998), but with scikit-learn's trees: the leaf is the one with the highest precision
    after Laplace's correction, (right + 1) / (covered + classes). An image gets the class of the first rule that it
    fulfils, and the most common class of the rest if it fulfils none.

    Args:
        view: what it sees, as for `Surrogate`.
        max_rules: the most rules, beside the default.
        max_conditions: the most questions of a rule.
        min_images: the fewest training images that a rule covers.
        seed: random seed of the trees.

    Raises:
        UserError: a number below 1.
    """

    unit = "rules"

    def __init__(
        self,
        view: Callable[[Explained], View] | None = None,
        max_rules: int = 16,
        max_conditions: int = 3,
        min_images: int = 5,
        seed: int = 0,
    ):
        super().__init__(view)
        if min(max_rules, max_conditions, min_images) < 1:
            raise UserError(
                f"max_rules, max_conditions and min_images are at least 1, not {max_rules}, {max_conditions} and "
                f"{min_images}."
            )
        self.max_rules, self.max_conditions, self.min_images, self.seed = max_rules, max_conditions, min_images, seed
        self.rules: list[Rule] = []
        self.default = 0

    @property
    def parts(self) -> int:
        return self.max_rules

    @property
    def size(self) -> int:
        return len(self.rules)

    def text(self) -> str:
        """A line for each rule, with how many of the training images that it covers have the class."""
        lines = []
        for place, rule in enumerate(self.rules):
            said = " and ".join(condition(self.names[column], *ends) for column, ends in rule.bounds.items())
            head = "else if" if place else "if"
            lines.append(f"{head} {said}: {self.classes[rule.label]} ({rule.right} of {rule.covered})")
        return "\n".join([*lines, f"else: {self.classes[self.default]}"])

    def _fit(self, rows: Rows, decided: NDArray[np.int64]) -> None:
        self.rules = []
        for _ in range(self.max_rules):
            rule = self._best(rows, decided)
            if rule is None:
                break
            self.rules.append(rule)
            left = ~rule.holds(rows)
            rows, decided = rows[left], decided[left]
        if len(decided):
            self.default = int(np.bincount(decided).argmax())

    def _best(self, rows: Rows, decided: NDArray[np.int64]) -> Rule | None:
        """The best leaf of a small tree; None where nothing is left to tell apart."""
        if len(decided) < 2 * self.min_images or len(np.unique(decided)) < 2:
            return None
        model = DecisionTreeClassifier(
            max_depth=self.max_conditions, min_samples_leaf=self.min_images, random_state=self.seed
        )
        leaves = model.fit(rows, decided).apply(rows)
        if model.get_n_leaves() < 2:
            return None
        labels = np.searchsorted(model.classes_, decided)
        counts = {
            leaf: np.bincount(labels[leaves == leaf], minlength=len(model.classes_)) for leaf in np.unique(leaves)
        }
        best = max(counts, key=lambda leaf: (counts[leaf].max() + 1) / (counts[leaf].sum() + len(self.classes)))
        found = counts[best]
        label = int(model.classes_[found.argmax()])
        return Rule(bounds_of(model, int(best)), label, int(found.sum()), int(found.max()))

    def _predict(self, rows: Rows) -> NDArray[np.int64]:
        predicted = np.full(len(rows), self.default, dtype=np.int64)
        for rule in reversed(self.rules):
            predicted[rule.holds(rows)] = rule.label
        return predicted

    def _reasons(self, row: Rows) -> Reasoning:
        for rule in self.rules:
            if rule.holds(row[None])[0]:
                reasons = [Reason(self.names[c], float(row[c]), *ends) for c, ends in rule.bounds.items()]
                return Reasoning(rule.label, reasons)
        return Reasoning(self.default, [])
