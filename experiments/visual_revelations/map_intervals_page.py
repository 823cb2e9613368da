"""The page of `visual_revelations/map_intervals`: how far maps agree, and whether their intervals hold."""

from collections.abc import Sequence
from typing import Any

from xcnn.figures import Estimate, protocol_plot
from xcnn.launch.titles import titled
from xcnn.report import Column, PaperNumber, Row, Summary
from xcnn.report.verdicts import spread

KINDS = {"seeds": "seed", "bootstrap": "data.draw"}  # what the networks of a kind differ in
TITLES = {"seeds": "other seeds", "bootstrap": "other training images"}
METRICS = {
    "agree": "rank correlation of two networks' maps",
    "width": "half-width of the interval, in mean relevance",
    "sure": "share of locations that are told from the mean",
    "covered": "share of a further network's map in the interval",
}


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    """Reproduced, if the intervals of every method and kind of network hold as much as they promise."""
    drawings, found = {}, list[dict[str, Any]]()
    for row in rows:
        names = [name.split("/")[1] for name in row.mean if name.startswith("agree/") and name.endswith("/seeds")]
        ranked = sorted(names, key=lambda name: -row.mean[f"agree/{name}/seeds"])
        file = f"map_intervals-{row.dataset}-{row.model}.png"
        drawings[file] = protocol_plot(
            [
                Estimate(TITLES[kind], title, titled(name), *spread(row, f"{metric}/{name}/{kind}").ends)
                for name in ranked
                for kind in KINDS
                for metric, title in METRICS.items()
            ]
        )
        kept = {
            (name, kind): spread(row, f"covered/{name}/{kind}").high >= row.details["level"]
            for name in ranked
            for kind in KINDS
        }
        found.append(
            {"row": row, "methods": ranked, "file": file, "maps": file.replace(".png", "-maps.png"), "kept": kept}
        )
    columns = [
        Column(f"agree/{name}/{kind}", f"agreement, {titled(name)}, {TITLES[kind]}")
        for name in found[0]["methods"]
        for kind in KINDS
    ]
    all_kept = [each for one in found for each in one["kept"].values()]
    return Summary(
        "Clear methods and visual revelations: intervals of maps",
        columns,
        drawings,
        verdict="reproduced" if all(all_kept) else "not reproduced",
        facts={"networks": found, "kinds": TITLES, "metrics": METRICS, "kept": all_kept},
    )
