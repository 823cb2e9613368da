"""Seconds of surrogates and conformal sets of 10,000 images from features at hand, beside the pass of a linear head.

    python benchmarks/surrogates.py

Rows are random features of 512 filters with the decisions of a random linear head of 10 and of 100 classes, as of
ResNet-18 on CIFAR-10 and on CUB: what is timed is the fit to 10,000 rows and the decisions for as many. Conformal sets
are calibrated on one half of 10,000 images' probabilities and formed for the other.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import get_args

import torch
from torch import Tensor

from xcnn.surrogates import ConformalSets, RuleSurrogate, SparseLinearSurrogate, Surrogate, TreeSurrogate
from xcnn.surrogates.conformal import Score

IMAGES, FILTERS = 10_000, 512
NAMES = [f"filter {place}" for place in range(FILTERS)]
SURROGATES: dict[str, Callable[[], Surrogate]] = {
    "tree of 32 leaves": lambda: TreeSurrogate(max_leaves=32),
    "16 rules": lambda: RuleSurrogate(max_rules=16),
    "sparse linear": lambda: SparseLinearSurrogate(strength=0.02),
}


def seconds(run: Callable[[], object]) -> float:
    """Processor time of a call."""
    start = time.process_time()
    run()
    return time.process_time() - start


def stands_in(make: Callable[[], Surrogate], rows: Tensor, decided: Tensor, others: Tensor, classes: int) -> Tensor:
    """The decisions of a surrogate for other rows."""
    names = [f"class {place}" for place in range(classes)]
    return make().fit_rows(rows, decided, NAMES, names).predict_rows(others)


def sets(score: Score, probabilities: Tensor, labels: Tensor) -> Tensor:
    """The sets of the second half of the images, calibrated on the first."""
    half = len(labels) // 2
    return ConformalSets(score).fit(probabilities[:half], labels[:half]).predict(probabilities[half:])


@torch.no_grad()
def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rows, others = torch.randn(2, IMAGES, FILTERS).relu_()
    for classes in (10, 100):
        head = torch.nn.Linear(FILTERS, classes)
        probabilities = (4 * head(rows)).softmax(1)
        decided, labels = probabilities.argmax(1), torch.multinomial(probabilities, 1)[:, 0]
        runs: dict[str, Callable[[], object]] = {"the head's pass": partial(head, rows)}
        runs |= {name: partial(stands_in, make, rows, decided, others, classes) for name, make in SURROGATES.items()}
        runs |= {score.upper(): partial(sets, score, probabilities, labels) for score in get_args(Score)}
        for name, run in runs.items():
            print(f"{classes:3} classes, {name}: {seconds(run):.3f} s")


if __name__ == "__main__":
    main()
