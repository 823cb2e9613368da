"""Clear methods, concept activation: which concepts do a network's classes depend on, and would chance say as much?

Paper:      Abbas 2024, "Concept Activation Mapping"; scores and vectors are those of Kim et al. 2018 (TCAV).
Command:    make visual-revelations-tcav
Reports:    no number. Known of TCAV: stripes matter for zebras (Kim et al. 2018, figure 4, GoogLeNet and Inception V3).
Cost:       features of each image once for each layer, kept; then, for all classes together, 388 sets with 5 vectors
            each and 3,630 shufflings a layer, 20 s on a CPU core (`make bench-concept-vectors`: of ResNet-50's layer3
            50 random concepts for a class take 4 s). The embedded data: 5 core-minutes in all. Textures: 1,040 images
            through ResNet-50 twice, 10 core-minutes; 3 GB.
Deviations: the paper names the method and no test. Beside Kim et al.'s t-test, which takes vectors of one set of images
            for independent draws, a concept's score is ranked among those of random sets, which is exact. Vectors are
            formed from inner products of features, which gives the same vectors. Random sets overlap.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from xcnn.evaluation.tcav import ALPHA, SUFFIXES, Draws, measure_tcav
from xcnn.figures import heat_tables
from xcnn.launch import Setup, launch
from xcnn.launch.titles import titled
from xcnn.metrics.significance import binomial_band
from xcnn.report import Cell, Claim, Column, Measured, PaperNumber, Row, Summary

CHANCE = 0.5  # area under the ROC curve
TESTS = {
    "p": "rank of the score",
    "slope": "rank of the mean derivative",
    "t": "t-test",
    "permuted": "shuffled images",
}


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    subject = setup.explained()
    sets = setup.concepts(subject)
    chosen = options.tcav
    draws = Draws(**chosen.sets, seed=options.seed)
    folder = Path(options.paths.runs) / "features"
    values, details = measure_tcav(subject, sets, chosen.layers, chosen.vectors, chosen.c, draws, folder, chosen.dtype)
    n = sum(len(images) for images in sets.classes.values())
    return subject.measured(values, n, details=details)


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    drawings, shown = {}, []
    for row in rows:
        for layer, found in row.records[0]["details"]["layers"].items():
            file = f"tcav-{row.dataset}-{row.model}-{row.method.removeprefix('tcav-')}-{layer}.png"
            drawings[file] = score_table(row, layer)
            known = bool(row.records[0]["settings"]["concepts"].get("truth", True))
            shown.append(
                {"row": row, "layer": layer, "file": file, "found": found, "band": band(row, layer), "known": known}
                | {"last": layer == list(row.records[0]["details"]["layers"])[-1]}
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
            claim for each in shown if each["known"] and not each["last"] for claim in told(each["row"], each["layer"])
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

    def alone(metric: str, name: str) -> Row:
        values = [record["values"].get(f"{name}/{layer}", CHANCE) for record in row.records]
        records = [{**each, "values": {metric: value}} for each, value in zip(row.records, values, strict=True)]
        return replace(row, mean={metric: fmean(values)}, records=records)

    pairs = (("auroc", "auroc", "chance"), ("found", "found", "false"))
    return [
        Claim(metric, (f"{row.method}", layer), (alone(metric, one), alone(metric, other)), "higher", "share")
        for metric, one, other in pairs
    ]


def score_table(row: Row, layer: str) -> Any:
    """Scores of all concepts and classes of the first seed, those outlined that differ from chance."""
    details = row.records[0]["details"]
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
        details = each["row"].records[0]["details"]
        for i, concept in enumerate(details["concepts"]):
            for j, label in enumerate(details["classes"]):
                adjusted = {name: p[i][j] for name, p in each["found"]["adjusted"].items()}
                found.append(
                    {"concept": concept, "label": label, "score": each["found"]["score"][i][j], "shown": each}
                    | {"adjusted": adjusted, "chance": each["found"]["chance"][j]}
                    | {"low": each["found"]["chance_low"][j], "high": each["found"]["chance_high"][j]}
                )
    return found


if __name__ == "__main__":
    launch(__file__, measure, summarise)
