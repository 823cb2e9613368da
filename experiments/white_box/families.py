"""What the pages of the comparisons share: the survey's families of methods, claims between them, and their plot."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from experiments.pixel_ablation_cam.comparisons import Better
from xcnn.figures import Estimate, protocol_plot
from xcnn.launch.titles import titled
from xcnn.report import Claim, Row, claim
from xcnn.report.formatting import plural
from xcnn.report.verdicts import spread

# The survey's "methods based on the computation of gradients" (sections 4 and 7), and those that it sets apart.
BACKWARD = ("gradient", "guided_backprop", "deconvnet")
GRADIENTS = (*BACKWARD, "smooth_grad", "integrated_gradients", "guided_grad_cam", "grad_cam")
APART = ("lrp_epsilon", "deep_lift", "fem")
DRAWN_DATA = "shapes"  # claims on it do not count: the survey speaks of photographs, with edges and texture
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


def leading(groups: Mapping[str, Sequence[Row]]) -> set[str]:
    """Names of the groups that a page speaks of, one for each data set and network, the most images being first.

    The first in which the methods of the claims are all measured; where there is none, that with the most methods.
    """
    chosen: dict[tuple[str, str], str] = {}

    def methods(name: str) -> tuple[bool, int]:
        whole = {*BACKWARD, *APART} <= {row.method for row in groups[name]}
        return whole, 0 if whole else len(groups[name])

    for name, group in groups.items():
        place = (group[0].dataset, group[0].model)
        chosen[place] = max(chosen.get(place, name), name, key=methods)
    return set(chosen.values())


def methods_plot(group: Sequence[Row], titles: Mapping[str, str], also: str = "") -> Figure:
    """Metrics of all methods of one network with their intervals: a column for each metric, by its title.

    Args:
        also: what the heading says besides network, data set and number of images.
    """
    images = plural(group[0].records[0]["n"], "image")
    heading = [titled(group[0].model), titled(group[0].dataset), images, *([also] if also else [])]
    estimates = [
        Estimate("", title, titled(row.method), *spread(row, metric).ends)
        for row in group
        for metric, title in titles.items()
    ]
    return protocol_plot(estimates, title=", ".join(heading))
