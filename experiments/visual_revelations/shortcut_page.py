"""The page of `visual_revelations/shortcut`: which methods betray the mark, and which cry wolf."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from xcnn.evaluation.shortcut import CLEAN, VERSIONS, marked
from xcnn.figures import Estimate, protocol_plot
from xcnn.launch.titles import titled
from xcnn.report import Column, PaperNumber, Row, Summary, by_network, named
from xcnn.report.verdicts import Interval

CONTROLS = ("centre", "edges", "random")  # blind to the network
ALARM = 0.9  # AUROC of finding the mark in maps of the clean network, from which a method cries wolf
SHARE, APART = "share on the mark", "AUROC, this network or the clean one"


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    """Reproduced, if on all data more than half of the methods betray the network whose class was always marked."""
    found = [facts_of(group) for group in by_network(rows).values()]
    columns = [
        Column(f"{name}/{version}/{share}", f"{name} {version}, {marked(share)}")
        for name in ("recall", "taken")
        for version in VERSIONS
        for share in found[0]["shares"]
    ]
    most = all(2 * len(each["telling"]) > len(each["asked"]) for each in found)
    return Summary(
        "Clear methods and visual revelations: a planted shortcut",
        columns=columns,
        drawings={each["file"]: drawing(each["methods"], each["full"]) for each in found},
        verdict="reproduced" if most else "not reproduced",
        facts={"networks": found, "versions": VERSIONS, "clean": CLEAN, "controls": CONTROLS, "alarm": ALARM},
    )


def facts_of(group: Sequence[Row]) -> dict[str, Any]:
    """What the page says of the networks of one data set.

    `methods` has, for each method, the row that has it, the most telling first; `telling` names those whose maps of the
    network whose class was always marked (`full`) are told from the clean network's in every seed, `alarmed` those that
    find the mark in the clean network's maps; of `asked`, which are all but the controls.
    """
    main = group[0]
    shares = sorted({name.rpartition("/")[2] for name in main.mean if name.startswith("taken/")}, key=float)
    full = shares[-1]
    having = {name.split("/")[1]: row for row in group for name in row.mean if name.startswith("apart/")}
    apart = {
        name: {share: widest(row, f"apart/{name}/{share}") for share in shares if share != CLEAN}
        for name, row in having.items()
    }
    methods = {name: having[name] for name in sorted(having, key=lambda name: -apart[name][full].value)}
    asked = [name for name in methods if name not in CONTROLS]
    place = f"shortcut-{main.dataset}-{main.model}"
    return {
        "row": main,
        "shares": shares,
        "full": full,
        "methods": methods,
        "apart": apart,
        "telling": [name for name in asked if apart[name][full].low > 0.5],
        "alarmed": [name for name in asked if methods[name].mean[f"auroc/{name}/{CLEAN}"] >= ALARM],
        "tracks": {name: tracks(row, main, name, shares) for name, row in methods.items()},
        "asked": asked,
        "file": f"{place}.png",
        "maps": f"{place}-maps.png",
        "mark": main.details["mark"],
        "concepts": any(name.startswith("concept/") for name in main.mean),
        "surrogates": sorted({name.split("/")[1] for name in main.mean if name.startswith("names/")}),
    }


def drawing(methods: Mapping[str, Row], full: str) -> Figure:
    """Relevance on the mark for both networks, and how well it tells them apart, of every method."""
    columns = ((SHARE, "share", CLEAN), (SHARE, "share", full), (APART, "apart", full))
    return protocol_plot(
        [
            Estimate("", f"{title}, {marked(share)}", titled(name), *widest(row, f"{metric}/{name}/{share}").ends)
            for name, row in methods.items()
            for title, metric, share in columns
        ]
    )


def tracks(row: Row, main: Row, method: str, shares: Sequence[str]) -> float:
    """Spearman's correlation, over networks, of the relevance on the mark and of how far the network needs the mark.

    That is the share of the class that is found with the mark, less the share that is found without it. NaN where the
    relevance is the same for all networks, or of other networks than those whose need is known.
    """
    needs = {record["seed"]: record["values"] for record in main.records}
    pairs = [
        (
            record["values"][f"share/{method}/{share}"],
            needs[record["seed"]][f"recall/with/{share}"] - needs[record["seed"]][f"recall/without/{share}"],
        )
        for record in row.records
        for share in shares
        if record["seed"] in needs
    ]
    if not pairs:
        return math.nan
    relevant, needed = np.array(pairs).T
    return float(spearmanr(relevant, needed).statistic) if np.ptp(relevant) and np.ptp(needed) else math.nan


def widest(row: Row, metric: str) -> Interval:
    """The mean over seeds, with the lowest and the highest end of all seeds' own intervals over images.

    Unlike an interval of a few seeds' mean it stays within the range that a metric has.
    """
    low, high = (
        pick(record["values"][named(metric, end)] for record in row.records)
        for pick, end in ((min, "low"), (max, "high"))
    )
    return Interval(row.mean[metric], low, high, "images", row.records[0]["n"])
