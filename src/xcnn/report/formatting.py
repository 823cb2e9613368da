"""How pages write numbers, tables and folds: the filters and functions that all templates share."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from xcnn.report.tables import markdown
from xcnn.report.verdicts import Claim, Comparison, Interval


def number(value: float | None, digits: int = 3) -> str:
    """`0.853`; `–` for what is undefined; what rounds to zero has no sign."""
    return "–" if value is None or value != value else f"{value:z,.{digits}f}"


def percent(share: float | None, digits: int = 0) -> str:
    """A share in [0, 1] as `85 %`."""
    return "–" if share is None or share != share else f"{100 * share:z.{digits}f} %"


def signed(value: float | None, digits: int = 1) -> str:
    """`+1.5`, `-0.2`."""
    return "–" if value is None or value != value else f"{value:+z,.{digits}f}"


def interval(ours: Interval | None, digits: int = 3, sign: bool = False) -> str:
    """`0.853 [0.841, 0.866]`, or the value alone where there is no spread; with `sign`, as a difference."""
    if ours is None:
        return "–"
    show = signed if sign else number
    ends = "" if ours.over == "none" else f" [{show(ours.low, digits)}, {show(ours.high, digits)}]"
    return show(ours.value, digits) + ends


def plural(n: int, one: str, several: str = "") -> str:
    """`1 seed`, `2 seeds`, `1,000 images`."""
    return f"{n:,} {one if n == 1 else several or one + 's'}"


def tally(judged: Iterable[Claim | Comparison], verdict: str) -> int:
    """How many claims, or printed numbers beside ours, have this verdict."""
    return sum(one.verdict == verdict for one in judged)


def table(header: Sequence[Any], lines: Iterable[Sequence[Any]]) -> str:
    """A Markdown table; a line break in a cell becomes a space, a vertical bar is escaped."""
    return markdown([str(cell) for cell in header], lines)


def details(summary: str, text: str = "", caller: Callable[[], str] | None = None) -> str:
    """`text`, or what stands in a `{% call %}`, folded under its summary; nothing if that is blank."""
    inner = (caller() if caller is not None else text).strip()
    return f"\n\n<details>\n<summary>{summary}</summary>\n\n{inner}\n\n</details>\n\n" if inner else ""
