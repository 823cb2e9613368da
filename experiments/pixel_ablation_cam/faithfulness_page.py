"""What the pages of tables 1 and 2 have in common: the numbers of section 4.2 by protocol, and the paper's claims."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.pixel_ablation_cam.comparisons import NAMED, PIXEL, controls_as_good
from xcnn.figures import Estimate, protocol_plot
from xcnn.launch.titles import titled
from xcnn.metrics.faithfulness import protocols
from xcnn.report import Claim, Column, Comparison, PaperNumber, Row, Summary, claim, compare
from xcnn.report.shards import side_by_side
from xcnn.report.verdicts import spread

METRICS = ("drop_confidence", "drop_activation", "increase_confidence", "increase_activation")
NEAREST = "top_fraction-black"  # the protocol nearest to the text: a fifth of the pixels, black around them
OTHERS = NAMED[:2]  # that Pixel Ablation-CAM is said to be better than
AXES = {
    "drop_confidence": "average drop of confidence, %",
    "drop_activation": "average drop of activation, %",
    "increase_confidence": "increase of confidence, % of images",
    "increase_activation": "increase of activation, % of images",
}


def faithfulness_summary(
    name: str, title: str, rows: Sequence[Row], paper: Sequence[PaperNumber], order: Sequence[str] = (), **options: Any
) -> Summary:
    """The page of a table from the rows of its networks: those of `order` first, then those with the most images."""
    networks, drawings, claims = [], {}, []
    rank = {model: place for place, model in enumerate(order)}
    groups = sorted(side_by_side(rows).items(), key=lambda group: rank.get(group[1][0].model, len(rank)))
    for place, found in groups:
        group = {row.method: row for row in found}
        first = found[0]
        numbers = [each for each in paper if (each.dataset, each.model) == (first.dataset, first.model)]
        file = f"{name}-protocols-{place}.png"
        heading = f"{titled(first.model)}, {titled(first.dataset)}"
        drawings[file] = protocol_plot(_estimates(group), _printed(numbers, group), heading)
        own = {other: _claims(group, other) for other in OTHERS}
        claims += [each[NEAREST] for each in own.values() if NEAREST in each]
        networks.append({"methods": group, "first": first, "file": file, "claims": own, **_facts(group, numbers)})
    columns = [Column(f"drop_confidence/{each}", each, 1) for each in choices(rows[0])] if rows else []
    facts = {"networks": networks, "nearest": NEAREST, "metrics": METRICS, "named": NAMED, "claim_digits": 1}
    return Summary(title, columns=columns, drawings=drawings, claims=claims, facts=facts, counts=nearest, **options)


def nearest(comparison: Comparison) -> bool:
    """Whether a comparison is of the protocol nearest to the text."""
    return comparison.metric.endswith(f"/{NEAREST}")


def choices(row: Row) -> list[str]:
    """The protocols of a row, in the order in which they are defined."""
    return [each.name for each in protocols() if f"drop_confidence/{each.name}" in row.mean]


def _claims(group: Mapping[str, Row], other: str) -> dict[str, Claim]:
    """Pixel Ablation-CAM's drop of confidence is lower than the other's, by protocol."""
    rows = list(group.values())
    return {each: claim(rows, f"drop_confidence/{each}", PIXEL, other, "lower") for each in choices(rows[0])}


def _facts(group: Mapping[str, Row], paper: Sequence[PaperNumber]) -> dict[str, Any]:
    """What the template says of a network, as numbers.

    `agreeing` counts the paper's numbers that agree by protocol, `ordered` names the metrics in which the paper's order
    of methods holds, `cheaper` the controls that lose no more confidence than Pixel Ablation-CAM, `apart` how far the
    map of drops is at most from Grad-CAM's under threshold, `overhead` is the time of all cells in counted passes.
    """
    every = choices(next(iter(group.values())))
    named = [group[method] for method in NAMED if method in group]
    agreeing = dict.fromkeys(every, 0)
    for comparison in compare(list(group.values()), paper):
        if comparison.verdict == "agrees":
            agreeing[comparison.metric.partition("/")[2]] += 1
    ordered = {
        choice: [metric for metric in METRICS if _ordered(named, f"{metric}/{choice}")]
        for choice in every
        if len(named) == len(NAMED)
    }
    drop, grad = (group.get(method) for method in (f"{PIXEL}_drop", "grad_cam"))
    threshold = [f"{metric}/{choice}" for metric in METRICS for choice in every if choice.startswith("threshold")]
    return {
        "choices": every,
        "agreeing": agreeing,
        "ordered": ordered,
        "printed": sum(number.row in group for number in paper),
        "cheaper": {choice: controls_as_good(group, f"drop_confidence/{choice}", "lower") for choice in every},
        "apart": max(abs(drop.mean[metric] - grad.mean[metric]) for metric in threshold) if drop and grad else None,
        "overhead": _overhead(group),
    }


def _ordered(rows: Sequence[Row], metric: str) -> bool:
    """Whether each row is better than the one before it; a tie is no order."""
    values = [row.mean[metric] for row in rows]
    return values == sorted(set(values), reverse=metric.startswith("drop"))


def _overhead(group: Mapping[str, Row]) -> float | None:
    """What the whole took in units of its counted passes, from the seconds that the cells recorded."""
    counted = total = 0.0
    for row in group.values():
        seconds, passes = row.details["seconds"], len(choices(row))
        if seconds["masked_passes"]:
            counted += seconds["masked_passes"] * (1 + passes) / passes
            total += seconds["total"]
    return total / counted if counted else None


def _estimates(group: Mapping[str, Row]) -> list[Estimate]:
    return [
        Estimate(choice.replace("-", " "), axis, titled(method), *spread(row, f"{metric}/{choice}").ends)
        for method, row in group.items()
        for choice in choices(row)
        for metric, axis in AXES.items()
    ]


def _printed(paper: Sequence[PaperNumber], group: Mapping[str, Row]) -> dict[str, dict[str, float]]:
    """The paper's values by axis and method, of the methods that are measured."""
    found: dict[str, dict[str, float]] = {}
    for number in paper:
        if number.row in group:
            found.setdefault(AXES[number.metric.removesuffix("/*")], {})[titled(number.row)] = number.value
    return found
