"""The page of `visual_revelations/tcav`: concepts that differ from chance, against the truth where it is known."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from xcnn.evaluation.tcav import ALPHA, SUFFIXES
from xcnn.figures import heat_tables
from xcnn.launch.titles import titled
from xcnn.metrics.significance import binomial_band
from xcnn.report import Claim, Column, PaperNumber, Row, Summary, claim_within

CHANCE = 0.5  # area under the ROC curve
TESTS = {
    "p": "rank of the score",
    "slope": "rank of the mean derivative",
    "t": "t-test",
    "permuted": "shuffled images",
}


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    drawings, shown = {}, []
    for row in rows:
        for layer, found in row.details["layers"].items():
            file = f"tcav-{row.dataset}-{row.model}-{row.method.removeprefix('tcav-')}-{layer}.png"
            drawings[file] = score_table(row, layer)
            known = f"auroc/{layer}" in row.mean
            last = layer == list(row.details["layers"])[-1]
            shown.append(
                {"row": row, "layer": layer, "file": file, "found": found, "band": band(row, layer)}
                | {"known": known, "last": last}
            )
    first = shown[0]["found"]
    return Summary(
        "Clear methods and visual revelations: concept activation",
        columns=[
            Column(f"{name}/{layer}", f"{title}, {layer}")
            for layer in dict.fromkeys(each["layer"] for each in shown)
            for name, title in (("found", "found"), ("false", "false"), ("fpr", "random"), ("held_out", "held out"))
        ],
        drawings=drawings,
        claims=[
            one for each in shown if each["known"] and not each["last"] for one in told(each["row"], each["layer"])
        ],
        facts={
            "shown": shown,
            "alpha": ALPHA,
            "claim_digits": 2,
            "pairs": pairs(shown),
            "tests": {TESTS[name]: suffix for name, suffix in SUFFIXES.items()},
            "logistic": any(row.method == "tcav-logistic" for row in rows),
            "rates": {
                name: fmean(
                    each["row"].mean[f"fpr{SUFFIXES[name]}/{each['layer']}"] for each in shown if not each["last"]
                )
                for name in ("p", "slope", "t")
            },
            "wide": shown[0] | {"low": fmean(first["chance_low"]), "high": fmean(first["chance_high"])},
        },
    )


def told(row: Row, layer: str) -> list[Claim]:
    """That scores tell what is true: better than chance, and more true pairs are found than others are claimed."""
    pairs: list[tuple[str, str | float]] = [("auroc", CHANCE), ("found", f"false/{layer}")]
    return [
        claim_within(row, metric, (row.method, f"{metric}/{layer}"), (layer, other), "higher", "share")
        for metric, other in pairs
    ]


def score_table(row: Row, layer: str) -> Figure:
    """Scores of all concepts and classes of the first seed, those outlined that differ from chance."""
    details = row.details
    found = details["layers"][layer]
    significant = [[p <= ALPHA for p in line] for line in found["adjusted"]["p"]]
    heading = f"{titled(row.dataset)}, {titled(row.model)}, {layer}"
    return heat_tables(
        {heading: [*found["score"], found["chance"]]},
        [*details["concepts"], "random (median)"],
        details["classes"],
        "",
        "",
        "share of images whose logit rises",
        ".2f",
        vmin=0,
        vmax=1,
        outlined={heading: [*significant, [False] * len(details["classes"])]},
        outlined_label="differs from random concepts (Holm, 5 %)",
    )


def band(row: Row, layer: str) -> dict[str, Any]:
    """The false positive rate of the random concepts, over seeds and classes, against what chance allows.

    A class's random concepts are independent but for their common null; classes share the concepts, so the band is of
    as many trials as there are concepts and seeds, not classes.
    """
    tested = sum(record["settings"]["tcav"]["sets"]["tested"] for record in row.records)
    low, high = binomial_band(tested, ALPHA)
    rate = row.mean[f"fpr/{layer}"]
    return {"rate": rate, "low": low, "high": high, "tested": tested, "within": rate <= high}


def pairs(shown: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Concepts and classes that differ from chance at the earlier layers, where truth is not known."""
    found = []
    for each in shown:
        details = each["row"].details
        for i, concept in enumerate(details["concepts"]):
            for j, label in enumerate(details["classes"]):
                adjusted = {name: p[i][j] for name, p in each["found"]["adjusted"].items()}
                found.append(
                    {"concept": concept, "label": label, "score": each["found"]["score"][i][j], "shown": each}
                    | {"adjusted": adjusted, "chance": each["found"]["chance"][j]}
                    | {"low": each["found"]["chance_low"][j], "high": each["found"]["chance_high"][j]}
                )
    return found
