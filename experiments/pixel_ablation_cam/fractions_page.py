"""The page of `pixel_ablation_cam/fractions`: the drop of confidence by the share of the pixels that is kept."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.pixel_ablation_cam.comparisons import PIXEL, controls_as_good, curve_of
from xcnn.figures import curves_plot
from xcnn.launch.titles import titled
from xcnn.report import Column, PaperNumber, Row, Summary, claim
from xcnn.report.shards import side_by_side

FILL = "black"
PANELS = {"drop_confidence": "average drop of confidence, %", "increase_confidence": "increase of confidence, %"}
PAPERS = 0.2


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    networks, drawings, claims = [], {}, []
    for place, group in side_by_side(rows).items():
        by_method = {row.method: row for row in group}
        shares: list[float] = group[0].settings["fractions"]
        file = f"fractions-{place}.png"
        drawings[file] = curves_plot(
            {
                title: {
                    titled(row.method): curve_of(row, [of(metric, share) for share in shares], shares)
                    for row in group
                    if row.method != "centre"
                }
                for metric, title in PANELS.items()
            },
            y_label="%",
            title=f"{titled(group[0].model)}, {group[0].records[0]['n']} images",
            control=titled("random"),
        )
        claims += [claim(group, drop(share), PIXEL, "grad_cam", "lower", counts=share == PAPERS) for share in shares]
        networks.append({"methods": by_method, "file": file, "shares": shares, **_facts(by_method, shares)})
    columns = [
        Column(drop(share), f"drop, {100 * share:.0f} % kept", 1)
        for share in (networks[0]["shares"] if networks else [])
    ]
    facts = {"networks": networks, "drop": drop, "paper": PAPERS, "claim_digits": 1}
    title = "Pixel Ablation-CAM, section 4.1.1: the share of the pixels"
    return Summary(title, columns=columns, drawings=drawings, claims=claims, facts=facts, verdict="not comparable")


def of(metric: str, share: float) -> str:
    """The metric of a share."""
    return f"{metric}/{share:.0%}-{FILL}"


def drop(share: float) -> str:
    """The drop of confidence of a share."""
    return of("drop_confidence", share)


def _facts(methods: Mapping[str, Row], shares: Sequence[float]) -> dict[str, Any]:
    """What could single out a share, by method: where the drop is lowest, and where the random map's is farthest above.

    `blind` names, by share, the controls that lose no more than Pixel Ablation-CAM.
    """
    lowest, farthest = {}, {}
    for name, row in methods.items():
        drops = [row.mean[drop(share)] for share in shares]
        lowest[name] = shares[drops.index(min(drops))]
        if "random" in methods and name != "random":
            above = [methods["random"].mean[drop(share)] - value for share, value in zip(shares, drops, strict=True)]
            farthest[name] = shares[above.index(max(above))]
    blind = {share: controls_as_good(methods, drop(share), "lower") for share in shares}
    return {"lowest": lowest, "farthest": farthest, "blind": blind}
