"""Pages: a template beside the experiment, filled with the numbers and verdicts that Python hands over.

`experiments/<paper>/<name>.md.jinja` extends `page.md.jinja`, which is installed with this package: it fixes the order
of every page, and writes the claims, all rows, the paper's numbers, definitions, deviations and provenance by itself. A
page's own template gives these blocks:

- `answer`: one paragraph, after the verdict. Required.
- `ours`: what we found, in a few words for the index of all results. Required.
- `table`: the paper's own table, in its own shape, with our value beside each printed one.
- `figure`: the pictures, `{{ picture(file, caption) }}` each; those it leaves out are folded below.
- `more`: other metrics, folded.
- `definitions`: a line (`- **name**: ...`) for each quantity that the page names; methods, networks and data sets that
  have a definition under `titles:` in `conf/` follow by themselves.
- `claim`: the words of a claim (variable `claim`), where the default's do not do.

`{% set quantities = {"test": "test accuracy, %"} %}` at its top gives metrics their titles. What a template sees,
besides `facts` of the experiment's own, stands in `Page.context`; its filters in `xcnn.report.formatting`.
"""

import ast
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.figure import Figure

from xcnn.errors import UserError
from xcnn.report.formatting import details, interval, number, percent, plural, signed, table, tally
from xcnn.report.provenance import of_rows
from xcnn.report.tables import PaperNumber, Record, Row
from xcnn.report.verdicts import Claim, Comparison, Verdict, judge, spread

HEADINGS = ("Paper", "Command", "Reports", "Cost", "Deviations")
MARK = "<!-- xcnn "  # opens the line that a page hands over to the index

Titles = Mapping[str, Mapping[str, str]]  # by the name in records: `title`, `definition`


@dataclass(frozen=True)
class Column:
    """A metric as a table shows it: its title, and how many decimals."""

    metric: str
    title: str
    digits: int = 3


def _every(comparison: Comparison) -> bool:
    return True


@dataclass(frozen=True)
class Summary:
    """What an experiment makes of its records: numbers and verdicts, no sentences.

    Args:
        title: of the page.
        columns: of the table of all rows.
        drawings: figures over all records, by file name (`<name>-<what>.png`).
        claims: relations that the paper states.
        comparable: False where data, weights or training are too far from the paper's for any number to bear on it.
        counts: which comparisons the verdict counts, where others are of settings that the paper does not speak of.
        verdict: the experiment's own, where the paper has neither a number nor a claim that could be tested.
        facts: whatever the template needs besides.
        keep_rows: commit the rows of all cells as `<name>.rows.parquet`, so that intervals can be checked.
    """

    title: str
    columns: Sequence[Column] = ()
    drawings: Mapping[str, Figure] = field(default_factory=dict)
    claims: Sequence[Claim] = ()
    comparable: bool = True
    counts: Callable[[Comparison], bool] = _every
    verdict: Verdict | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    keep_rows: bool = False


Summarise = Callable[[Sequence[Row], Sequence[PaperNumber]], Summary]


def opening(path: Path) -> dict[str, str]:
    """What an experiment's docstring opens with: `What`, its first line, and the text under each heading.

    Raises:
        ValueError: a heading is missing, empty or out of order.
    """
    first, *lines = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").splitlines() or [""]
    found: dict[str, str] = {"What": first.rstrip(".").replace("|", r"\|")}
    for line in lines:
        name, colon, text = line.partition(":")
        if colon and name in HEADINGS:
            found[name] = text.strip()
        elif line.strip() and len(found) > 1:
            found[list(found)[-1]] += f" {line.strip()}"
    if tuple(found)[1:] != HEADINGS or not all(found.values()):
        raise ValueError(f"{path}: the docstring has {', '.join(list(found)[1:])}; it needs {', '.join(HEADINGS)}.")
    return found


def environment(experiments: Path) -> jinja2.Environment:
    """Where templates are found, and the filters and functions that all of them share."""
    found = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.FileSystemLoader(experiments), jinja2.PackageLoader("xcnn.report")]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown
        extensions=["jinja2.ext.do"],
    )
    found.filters |= {f.__name__: f for f in (number, percent, signed, interval, plural, tally)}
    # A line right below a table would be a row of it.
    found.globals |= {"details": details, "table": lambda header, lines: f"\n\n{table(header, lines)}\n\n"}
    return found


@dataclass
class Page:
    """The page of an experiment, before its template is filled.

    Args:
        identity: `<paper>/<name>`.
        command: that makes it.
        summary: of the experiment.
        rows, comparisons: ours, and the paper's numbers beside them.
        pictures: file names, with the record whose picture it is (None for a drawing over all records).
        titles: of methods, networks and data sets.
        protocol: number of what the experiment measures today; None where that is not known.
    """

    identity: str
    command: str
    summary: Summary
    rows: Sequence[Row]
    comparisons: Sequence[Comparison]
    pictures: Mapping[str, Record | None]
    titles: Titles
    protocol: int | None = None

    def __post_init__(self) -> None:
        self.shown: set[str] = set()  # pictures that the template has placed
        self.spreads: set[str] = set()  # what the intervals in the paper's table are over

    @property
    def verdict(self) -> Verdict:
        own = self.summary
        return own.verdict or judge(self.comparisons, own.claims, own.comparable, own.counts)

    def render(self, experiments: Path) -> str:
        """The page in Markdown, opened by the line for the index.

        Args:
            experiments: the folder of the experiments and their templates.

        Raises:
            UserError: the template is at fault (names it and its line).
        """
        name, known = f"{self.identity}.md.jinja", environment(experiments)
        known.filters |= {"titled": self.titled, "quantity": jinja2.pass_context(quantity)}
        try:
            template = known.get_template(name)
            context = template.new_context(self.context(opening(experiments / f"{self.identity}.py")))
            try:
                body = "".join(template.root_render_func(context))
                ours = " ".join("".join(context.blocks["ours"][0](context)).split()) if "ours" in context.blocks else ""
            except Exception:
                known.handle_exception()  # raises it again, with the templates' own lines
        except jinja2.TemplateSyntaxError as error:
            raise UserError(f"{error.filename or name}, line {error.lineno}: {error.message}.") from error
        except jinja2.TemplateError as error:
            raise UserError(f"{_place(error, name)}: {error.message}.") from error
        for block, least in (("answer", 2), ("ours", 1)):  # the page's own, and for the answer the empty one
            if len(context.blocks.get(block, ())) < least:
                raise UserError(f"experiments/{name} has no block {block!r}: every page needs one.")
        line = {"identity": self.identity, "verdict": self.verdict, "ours": ours, "n": self.n, "command": self.command}
        mark = json.dumps(line, ensure_ascii=False).replace("--", "-\\u002d")
        body = re.sub(r"\n{3,}", "\n\n", body).strip()
        return f"{MARK}{mark} -->\n{body}\n"

    def context(self, experiment: Mapping[str, str]) -> dict[str, Any]:
        """What a template sees: plain values of the page, and functions that look up titles, numbers and pictures.

        `ours(row, metric, digits)` shows a value with its interval, `beside(method, metric, dataset, model)` the
        paper's number and ours as `47.03 / 73.5 [71.3, 75.7]`, `titled(name)` and `quantity(metric)` their titles,
        `picture(file, caption)` a picture.
        """
        own = self.summary
        return {
            "identity": self.identity,
            "command": self.command,
            "title": own.title,
            "verdict": self.verdict,
            "comparable": own.comparable,
            "facts": own.facts,
            "claims": own.claims,
            "columns": own.columns,
            "rows": self.rows,
            "protocol": self.protocol,
            "earlier": self.earlier,
            "records": [record for row in self.rows for record in row.records],
            "comparisons": self.comparisons,
            "pictures": self.pictures,
            "experiment": {name.lower(): text for name, text in experiment.items()},
            "quantities": {column.metric: column.title for column in own.columns},
            "shared": shared(self.rows),
            "not_run": not_run(self.comparisons),
            "named": self.named(),
            "provenance": of_rows(self.rows),
            "shown": self.shown,
            "spreads": self.spreads,
            "titled": self.titled,
            "definition": lambda name: self._entry(name).get("definition", ""),
            "quantity": jinja2.pass_context(quantity),
            "ours": self.ours,
            "beside": self.beside,
            "printed": self.printed,
            "picture": self.picture,
        }

    @property
    def earlier(self) -> dict[int, list[Row]]:
        """The rows with records of another protocol than today's, by it; none where today's is not known."""
        found: dict[int, list[Row]] = {}
        for row in self.rows if self.protocol is not None else ():
            for protocol in {record["settings"].get("protocol", self.protocol) for record in row.records}:
                found.setdefault(protocol, []).append(row)
        return {protocol: found[protocol] for protocol in sorted(found) if protocol != self.protocol}

    @property
    def n(self) -> dict[str, list[int]]:
        """Fewest and most images and seeds of the rows."""
        rows = [
            comparison.row for comparison in self.comparisons if comparison.row and self.summary.counts(comparison)
        ] or self.rows
        images = [record["n"] for row in rows for record in row.records]
        seeds = [row.n for row in rows]
        return {"images": [min(images), max(images)], "seeds": [min(seeds), max(seeds)]}

    def named(self) -> dict[str, str]:
        """Titles and definitions of the methods, networks and data sets of the page, where there is a definition."""
        paper = [comparison.paper for comparison in self.comparisons]
        names = [row.method for row in self.rows] + [number.row for number in paper]
        for model, dataset in [*((r.model, r.dataset) for r in self.rows), *((p.model, p.dataset) for p in paper)]:
            names += [name for name in (model, dataset) if name]
        found = {name: self._entry(name) for name in dict.fromkeys(names)}
        return {self.titled(name): one["definition"] for name, one in found.items() if one.get("definition")}

    def _entry(self, name: str) -> Mapping[str, str]:
        """By name, or by a pattern such as `literal-a*`, for methods that a sweep names."""
        patterns = (one for pattern, one in self.titles.items() if "*" in pattern and fnmatchcase(name, pattern))
        return self.titles[name] if name in self.titles else next(patterns, {})

    def titled(self, name: str) -> str:
        """`grad_cam_plus_plus` as `Grad-CAM++`; a name without a title stays as it is."""
        return self._entry(name).get("title", name)

    def ours(self, row: Row | None, metric: str, digits: int = 3, unit: str = "") -> str:
        """Our value with its interval; `–` where there is none."""
        if row is None or metric not in row.mean or row.mean[metric] != row.mean[metric]:
            return "–"
        found = spread(row, metric, unit)
        self.spreads.add(found.over)
        return interval(found, digits)

    def beside(
        self, method: str, metric: str, dataset: str = "", model: str = "", source: str = "", digits: int | None = None
    ) -> str:
        """The paper's number and ours, as `47.03 / 73.5 [71.3, 75.7]`, with ✓ where they agree.

        Args:
            method, metric: as in our records.
            dataset, model: whose; empty for any.
            source: the beginning of the paper's source, where it prints several numbers.
            digits: decimals of ours; None for as many as the paper prints.
        """
        here = [r for r in self.rows if r.method == method and dataset in ("", r.dataset) and model in ("", r.model)]
        found = self._of(method, metric, dataset, model, source)
        one = next((one for one in found if one.row and self.summary.counts(one)), None)
        if one is None:
            printed = self.printed(method, metric, dataset, model, source)
            return f"{printed} / {self.ours(here[0] if here else None, metric, 3 if digits is None else digits)}"
        shown = self.ours(one.row, metric, one.paper.digits if digits is None else digits, one.paper.unit)
        return f"{one.paper.text} / {shown}" + (" ✓" if one.verdict == "agrees" else "")

    def printed(self, method: str, metric: str, dataset: str = "", model: str = "", source: str = "") -> str:
        """The paper's number as printed; `–` where it prints none."""
        found = self._of(method, metric, dataset, model, source)
        return found[0].paper.text if found else "–"

    def _of(self, method: str, metric: str, dataset: str, model: str, source: str) -> list[Comparison]:
        """The comparisons of one cell of the paper's table."""
        return [
            one
            for one in self.comparisons
            if one.paper.row == method
            and fnmatchcase(metric, one.paper.metric)
            and (one.row is None or one.metric == metric)
            and (not dataset or (one.paper.dataset in ("", dataset) and (not one.row or one.row.dataset == dataset)))
            and (not model or (one.paper.model in ("", model) and (not one.row or one.row.model == model)))
            and one.paper.source.startswith(source)
        ]

    def picture(self, file: str, caption: str = "") -> str:
        """A picture with its caption.

        Raises:
            UserError: there is no such picture (names those there are).
        """
        if file not in self.pictures:
            raise UserError(f"{self.identity} has no picture {file!r}; it has: {', '.join(self.pictures) or 'none'}.")
        self.shown.add(file)
        caption = " ".join(caption.split())
        return f"\n\n![{Path(file).stem}]({file})\n\n{caption}\n\n"


def quantity(context: jinja2.runtime.Context, metric: str) -> str:
    """The title of a metric, from the template's `quantities` or the columns; of `drop/soft`, that of `drop`."""
    name, _, choice = metric.partition("/")
    titles: Any = context.resolve("quantities")
    if metric in titles:
        return titles[metric]
    return titles[name] + (f" ({choice})" if choice and choice != "*" else "") if name in titles else metric


def shared(rows: Sequence[Row]) -> dict[str, Any]:
    """What all rows share, said once: `setting`, and `dataset` and `model` if there is one; and what is a row's own.

    `own` has, for each row, the parts of its setting that not all rows have.
    """
    parts = [row.setting.split("; ") for row in rows]
    everywhere = [part for part in parts[0] if all(part in other for other in parts)] if parts else []
    return {
        "setting": "; ".join(everywhere),
        "own": ["; ".join(part for part in mine if part not in everywhere) for mine in parts],
        "dataset": len({row.dataset for row in rows}) <= 1,
        "model": len({row.model for row in rows}) <= 1,
        "seeds": len({row.n for row in rows}) <= 1,
    }


def not_run(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """The paper's numbers that were not run, one line for each column: data set, network, reason, and how many."""
    counted: dict[tuple[str, str, str], int] = {}
    for one in comparisons:
        if one.row is None:
            key = (one.paper.dataset, one.paper.model, one.paper.not_run)
            counted[key] = counted.get(key, 0) + 1
    return [
        {"dataset": dataset, "model": model, "reason": reason, "n": n}
        for (dataset, model, reason), n in counted.items()
    ]


def _place(error: BaseException, name: str) -> str:
    """File and line of the template in which an error arose; the named template if it passed none."""
    trace, place = error.__traceback__, name
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.endswith(".jinja"):
            place = f"{trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return place


def handed_over(page: Path) -> dict[str, Any] | None:
    """The line for the index at the top of a page; None if the page has none."""
    first = page.read_text(encoding="utf-8").partition("\n")[0] if page.is_file() else ""
    if not first.startswith(MARK):
        return None
    found: dict[str, Any] = json.loads(first.removeprefix(MARK).removesuffix(" -->"))
    return found
