"""The page of `visual_revelations/real_time`: how long each method takes, and which are prompt."""

from collections.abc import Sequence

from xcnn.figures import Latency, latency_plot
from xcnn.launch.titles import titled
from xcnn.metrics.cost import FORWARD
from xcnn.report import Column, PaperNumber, Row, Summary

PAGE = "page"  # of the explorer: prediction, filters, neighbours and three maps


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    """Reproduced, if on all data more than half of the methods give 95 % of their maps within the limit."""
    drawings, networks = {}, []
    for row in rows:
        p50, p95 = (
            {n.partition("/")[2]: v for n, v in row.mean.items() if n.startswith(end)} for end in ("p50/", "p95/")
        )
        ranked = sorted(p50.keys() - {FORWARD, PAGE}, key=lambda name: p50[name])
        shown = [*ranked, PAGE] if PAGE in p50 else ranked
        limit = row.settings["immediate"]
        file = f"real_time-{row.dataset}-{row.model}.png"
        drawings[file] = latency_plot(
            [Latency(called(name), p50[name], p95[name]) for name in shown],
            p50[FORWARD],
            [limit],
            f"{titled(row.dataset)}, {titled(row.model)}",
        )
        prompt = [name for name in ranked if p95[name] <= limit]
        networks.append({"row": row, "shown": shown, "ranked": ranked, "prompt": prompt, "file": file, "limit": limit})
    columns = [Column(f"p50/{FORWARD}", "forward pass, p50, ms"), Column(f"p95/{FORWARD}", "forward pass, p95, ms")]
    most = all(2 * len(each["prompt"]) > len(each["ranked"]) for each in networks)
    return Summary(
        "Clear methods and visual revelations: explanations in real time",
        columns,
        drawings,
        verdict="reproduced" if most else "not reproduced",
        facts={"networks": networks, "forward": FORWARD, "page": PAGE, "called": called},
    )


def of_methods(row: Row, end: str) -> dict[str, float]:
    """A percentile of each method's times, in ms."""
    return {name.partition("/")[2]: value for name, value in row.mean.items() if name.startswith(f"{end}/")}


def called(name: str) -> str:
    """A method's title; that of the explorer's page."""
    return "a page of the explorer" if name == PAGE else titled(name)
