"""What the pages of the comparisons share: the survey's families of methods, and claims between them."""

from collections.abc import Iterable, Sequence
from typing import Any

from experiments.pixel_ablation_cam.comparisons import Better
from xcnn.report import Claim, Row, claim

# The survey's "methods based on the computation of gradients" (sections 4 and 7), and those that it sets apart.
BACKWARD = ("gradient", "guided_backprop", "deconvnet")
GRADIENTS = (*BACKWARD, "smooth_grad", "integrated_gradients", "guided_grad_cam", "grad_cam")
APART = ("lrp_epsilon", "deep_lift", "fem")
CONTROLS = ("centre", "edges", "random", "fresh_noise")  # blind to the class


def claims_between(
    rows: Sequence[Row],
    metrics: Iterable[str],
    first: Iterable[str],
    second: Iterable[str],
    says: Better,
    **options: Any,
) -> list[Claim]:
    """A claim for each metric and pair of two methods that were measured."""
    there = {row.method for row in rows}
    return [
        claim(rows, metric, one, other, says, **options)
        for metric in metrics
        for one in first
        for other in second
        if one != other and {one, other} <= there
    ]
