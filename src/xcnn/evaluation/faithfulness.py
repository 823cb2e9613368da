"""How faithful explanations are (Pixel Ablation-CAM, section 4.2): the cells of tables 1 and 2, and their page."""

import time
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from xcnn.attribution import Method, upsample
from xcnn.data.pictures import PictureBatch
from xcnn.evaluation.image_rows import Columns, differences, image_rows, with_intervals
from xcnn.evaluation.subject import Subject
from xcnn.figures import Estimate, protocol_plot
from xcnn.metrics.faithfulness import Outputs, Protocol, drop_share, increased, protocols, wins
from xcnn.report.cells import Cell, Measured
from xcnn.report.publish import Column, Summary
from xcnn.report.shards import side_by_side
from xcnn.report.tables import PaperNumber, Record, Row, markdown

OUTPUTS = ("confidence", "activation")
NAMED = ("grad_cam", "ablation_cam", "pixel_ablation_cam")  # of the paper's tables; wins are among them


def measure_faithfulness(
    cell: Cell, subject: Subject, method: Method, protocols: Sequence[Protocol], chunk: int
) -> Measured:
    """The network's outputs for each picture and for what each protocol leaves of it, for the class predicted."""
    seconds = {"total": 0.0, "masked_passes": 0.0, "pictures": 0.0}

    @torch.inference_mode()
    def columns(batch: PictureBatch) -> Columns:
        pictures = subject.scaled(batch)
        inputs = subject.normalise(pictures)
        explanation = method.explain(inputs)
        y = Outputs.of(explanation.logits, explanation.targets)
        found: dict[str, Tensor] = {
            "target": explanation.targets,
            "confidence": y.confidence,
            "activation": y.activation,
            "ablations": explanation.ablations,
        }
        maps = upsample(explanation.maps, pictures.shape[2:])
        masks: dict[str, Tensor] = {}
        for protocol in protocols:
            if protocol.keep not in masks:
                masks[protocol.keep] = protocol.masks(maps)
                found[f"kept/{protocol.keep}"] = masks[protocol.keep].mean((1, 2))
            shown = protocol.explanation(pictures, masks[protocol.keep], subject.normalise)
            started = time.perf_counter()
            o = Outputs.of(method.logits(shown), explanation.targets)
            seconds["masked_passes"] += time.perf_counter() - started
            found |= {f"{output}/{protocol.name}": getattr(o, output) for output in OUTPUTS}
        seconds["pictures"] += len(batch.ids)
        return found

    started = time.perf_counter()
    with subject.autocast():  # once around all, so that weights are cast to bfloat16 once
        rows = image_rows(cell, subject, chunk, columns)
    seconds["total"] = time.perf_counter() - started
    rows = rows[~rows["broken"]]
    values = {f"{name}": float(column.mean()) for name, column in _per_picture(rows).items()}
    values |= {
        "top1": float((rows["label"] == rows["target"]).mean()),
        "ablations": float(rows["ablations"].mean()),
        **{str(name): float(rows[name].mean()) for name in rows if str(name).startswith("kept/")},
    }
    details = {
        # Of this process: pictures whose rows an earlier one left are not in it.
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "passes": 1 + len(protocols),
    }
    return subject.measured(values, len(rows), details=details)


def _per_picture(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Each metric of each protocol as a value per picture, in percent; NaN where it is undefined."""
    found = {}
    for output in OUTPUTS:
        y = torch.tensor(rows[output].to_numpy(float))
        for column in (str(name) for name in rows if str(name).startswith(f"{output}/")):
            o = torch.tensor(rows[column].to_numpy(float))
            name = column.removeprefix(f"{output}/")
            found[f"drop_{output}/{name}"] = pd.Series(100 * drop_share(y, o).numpy(), rows.index)
            found[f"increase_{output}/{name}"] = pd.Series(100.0 * increased(y, o).numpy(), rows.index)
    return found


def pool_faithfulness(
    rows: Mapping[str, pd.DataFrame], compared: Sequence[str], reference: str
) -> dict[str, dict[str, float]]:
    """Means with 95 % intervals, wins, and paired differences, of all methods on the same pictures.

    Args:
        rows: of each method.
        compared: the methods among which a picture is won.
        reference: the method that all others are compared with.
    """
    broken = {method: int(frame["broken"].sum()) for method, frame in rows.items()}
    rows = {method: frame[~frame["broken"]] for method, frame in rows.items()}
    per_picture = {method: pd.DataFrame(_per_picture(frame)) for method, frame in rows.items()}
    values: dict[str, dict[str, float]] = {}
    for method, frame in rows.items():
        table = per_picture[method]
        found = {
            "top1": float((frame["label"] == frame["target"]).mean()),
            "nonpositive": int((frame["activation"] <= 0).sum()),
            "broken": broken[method],
            "ablations": float(frame["ablations"].mean()),
            **{str(name): float(frame[name].mean()) for name in frame if str(name).startswith("kept/")},
        }
        found |= with_intervals(table)
        if method != reference and reference in per_picture:
            found |= differences(table, per_picture[reference])
        values[method] = found
    among = [method for method in compared if method in per_picture]
    if len(among) > 1:
        for column in per_picture[among[0]]:
            metric, protocol = str(column).split("/")
            if metric.startswith("drop_"):
                drops = torch.tensor(np.stack([per_picture[method][column].to_numpy() for method in among]))
                won = 100 * wins(drops).nanmean(1)
                for method, share in zip(among, won.tolist(), strict=True):
                    values[method][f"win_{metric.removeprefix('drop_')}/{protocol}"] = share
    return values


def faithfulness_summary(name: str, title: str, rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    """The page of a table: under which protocols the paper's numbers and its ordering hold, and what explains them."""
    parts = [_PROTOCOLS]
    drawings, captions = {}, {}
    for place, found in side_by_side(rows).items():
        group = {row.method: row for row in found}
        first = found[0]
        numbers = [each for each in paper if (each.dataset, each.model) == (first.dataset, first.model)]
        parts += _network(group, numbers)
        file = f"{name}-protocols-{place}.png"
        drawings[file] = protocol_plot(_estimates(group), _printed(numbers, group), f"{first.model}, {first.setting}")
        captions[file] = "Every protocol and metric, with 95 % bootstrap intervals over pictures."
    columns = [Column(f"drop_confidence/{each}", each, 1) for each in _choices(rows[0])] if rows else []
    return Summary(title, "\n\n".join(parts), columns, drawings, captions)


_PROTOCOLS = (
    'The paper keeps "the top 20 % of pixels" and does not say whether that is a fifth of the pixels (top_fraction) or '
    "the pixels above a fifth of the maximum (threshold), nor what stands in place of the rest: black, or the mean "
    "colour, which is 0 after normalisation. All are run; soft multiplies the picture by the map, as Grad-CAM++ does. "
    "Drop and increase are eqs. 6 and 7, of the class predicted for the whole picture; a drop of activation above "
    "100 % is a logit that fell below 0. Wins are among the three methods of the paper's table; ties are nobody's. "
    "Brackets are 95 % bootstrap intervals over pictures. random, centre and activation_sum (sum of the channels, "
    "whatever the class) are controls."
)
_SHOWN = {
    "drop_confidence": "average drop of confidence, %",
    "drop_activation": "average drop of activation, %",
    "increase_confidence": "increase of confidence, % of pictures",
    "increase_activation": "increase of activation, % of pictures",
}


def _choices(row: Row) -> list[str]:
    """The protocols of a row, in the order in which they are defined."""
    return [each.name for each in protocols() if f"drop_confidence/{each.name}" in row.mean]


def _network(group: Mapping[str, Row], paper: Sequence[PaperNumber]) -> list[str]:
    first = next(iter(group.values()))
    record = first.records[0]
    parts = [
        f"## {first.model} on {first.setting}",
        f"{record['n']:,} pictures, top-1 {first.mean['top1']:.3f}; weights {record['weights']}; "
        f"{first.mean['nonpositive']:.0f} pictures with a logit not above 0, where a drop of activation is undefined. "
        f"{_cost(group)}",
    ]
    for metric, heading in _SHOWN.items():
        lines = []
        for method, row in group.items():
            cells = [
                f"{row.mean[f'{metric}/{choice}']:.1f} "
                f"[{row.mean[f'{metric}.low/{choice}']:.1f}, {row.mean[f'{metric}.high/{choice}']:.1f}]"
                for choice in _choices(row)
            ]
            printed = [each.value for each in paper if each.row == method and each.metric == f"{metric}/*"]
            lines.append([method, *cells, f"{printed[0]:.2f}" if printed else "-"])
        parts += [f"### {heading}", markdown(["method", *_choices(first), "paper"], lines)]
    wins_table = [
        [method, *(f"{row.mean[f'win_confidence/{choice}']:.1f}" for choice in _choices(row))]
        for method, row in group.items()
        if f"win_confidence/{_choices(row)[0]}" in row.mean
    ]
    if wins_table:
        parts += [
            "### wins in confidence, % of pictures (the rest are ties)",
            markdown(["method", *_choices(first)], wins_table),
        ]
    kept = {
        keep: ", ".join(f"{method} {100 * row.mean[f'kept/{keep}']:.0f} %" for method, row in group.items())
        for keep in ("top_fraction", "threshold", "soft")
    }
    parts += [
        "### How much of the picture is kept",
        "\n".join(f"- {keep}: {text}" for keep, text in kept.items()),
        "### What the numbers say",
        "\n".join(f"- {line}" for line in _findings(group, paper)),
    ]
    return parts


def _cost(group: Mapping[str, Row]) -> str:
    """What the whole took against its counted passes, from the seconds that the cells recorded."""
    counted = total = 0.0
    for row in group.values():
        seconds = row.records[0]["details"]["seconds"]
        passes = len(_choices(row))
        if seconds["masked_passes"]:
            counted += seconds["masked_passes"] * (1 + passes) / passes
            total += seconds["total"]
    return (
        f"All cells took {total / counted:.2f} x their counted passes (one for each picture and one for each masked "
        "picture), data, maps and masks included."
        if counted
        else ""
    )


def _findings(group: Mapping[str, Row], paper: Sequence[PaperNumber]) -> list[str]:
    """Sentences from the numbers alone."""
    lines = []
    methods = [method for method in NAMED if method in group]
    if len(methods) < len(NAMED):
        return [f"Of the paper's methods only {', '.join(methods) or 'none'} is measured."]
    choices = _choices(group[methods[0]])
    within = dict.fromkeys(choices, 0)
    orders: dict[str, list[str]] = {choice: [] for choice in choices}
    for choice in choices:
        for metric in _SHOWN:
            values = [group[method].mean[f"{metric}/{choice}"] for method in methods]
            ordered = sorted(set(values), reverse=metric.startswith("drop"))  # a tie is no ordering
            if values == ordered:
                orders[choice].append(metric)
            for number in paper:
                if number.metric == f"{metric}/*" and number.row in group:
                    within[choice] += (
                        abs(group[number.row].mean[f"{metric}/{choice}"] - number.value) <= number.tolerance
                    )
    if paper:
        total = sum(number.row in group for number in paper)
        best = max(within, key=within.__getitem__)
        lines.append(
            f"The paper's numbers hold under no protocol: of its {total}, the most within their tolerance are "
            f"{within[best]}, under {best}."
            if within[best] < total
            else f"All {total} of the paper's numbers are within their tolerance under {best}."
        )
    whole = [choice for choice, held in orders.items() if len(held) == len(_SHOWN)]
    partly = {choice: held for choice, held in orders.items() if 0 < len(held) < len(_SHOWN)}
    lines.append(
        f"Its ordering (Grad-CAM, then Ablation-CAM, then Pixel Ablation-CAM the best) holds in all four metrics under "
        f"{', '.join(whole) or 'no protocol'}; in some under "
        + ("; ".join(f"{choice} ({', '.join(held)})" for choice, held in partly.items()) or "none other")
        + "."
    )
    for choice in choices:
        row, less = group["pixel_ablation_cam"], f"drop_confidence.less/{choice}"
        if less in row.mean:
            low, high = row.mean[f"drop_confidence.less_low/{choice}"], row.mean[f"drop_confidence.less_high/{choice}"]
            verdict = "lower" if high < 0 else "higher" if low > 0 else "not told apart"
            lines.append(
                f"{choice}: Pixel Ablation-CAM's drop of confidence less Grad-CAM's, picture by picture, is "
                f"{row.mean[less]:+.1f} [{low:+.1f}, {high:+.1f}] points: {verdict}."
            )
    if "pixel_ablation_cam_drop" in group and all(record["model"].startswith("resnet") for record in _first(group)):
        apart = max(
            abs(
                group["pixel_ablation_cam_drop"].mean[f"{metric}/{choice}"]
                - group["grad_cam"].mean[f"{metric}/{choice}"]
            )
            for metric in _SHOWN
            for choice in choices
            if choice.startswith("threshold")
        )
        lines.append(
            "Behind global average pooling and one linear layer a location's drop is CAM / (hw Y): the map of drops is "
            "Grad-CAM's before its ReLU. Under threshold, which keeps nothing below 0, the two differ only in whether "
            f"negative values are cut before or after upsampling: by at most {apart:.1f} points in any metric. What "
            "sets Pixel Ablation-CAM apart from Grad-CAM here is therefore not the ablation but eq. 5's second "
            "factor, the sum of the channels."
        )
    controls = [method for method in ("activation_sum", "centre", "random") if method in group]
    for choice in choices:
        beaten = [
            control
            for control in controls
            if group[control].mean[f"drop_confidence/{choice}"]
            <= group["pixel_ablation_cam"].mean[f"drop_confidence/{choice}"]
        ]
        if beaten:
            lines.append(
                f"{choice}: no more confidence than with Pixel Ablation-CAM is lost with {', '.join(beaten)}, blind to "
                "the class: under this protocol a low drop is no sign of a good explanation."
            )
    return lines


def _first(group: Mapping[str, Row]) -> list[Record]:
    return [row.records[0] for row in group.values()]


def _estimates(group: Mapping[str, Row]) -> list[Estimate]:
    return [
        Estimate(
            choice,
            heading,
            method,
            row.mean[f"{metric}/{choice}"],
            row.mean[f"{metric}.low/{choice}"],
            row.mean[f"{metric}.high/{choice}"],
        )
        for method, row in group.items()
        for choice in _choices(row)
        for metric, heading in _SHOWN.items()
    ]


def _printed(paper: Sequence[PaperNumber], group: Mapping[str, Row]) -> dict[str, dict[str, float]]:
    """The paper's values by heading and method, of the methods that are measured."""
    found: dict[str, dict[str, float]] = {}
    for number in paper:
        if number.row in group:
            found.setdefault(_SHOWN[number.metric.removesuffix("/*")], {})[number.row] = number.value
    return found
