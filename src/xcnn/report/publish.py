"""From finished cells to what is committed: records, figures, a rendered table; and the same to W&B.

Everything here is a function of the records, so running it again changes nothing. No number is typed by hand.
"""

import json
import math
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from xcnn.errors import UserError
from xcnn.figures import save_png
from xcnn.files import atomic, read_json, write_json
from xcnn.fingerprint import file_hash, fingerprint
from xcnn.report import cells
from xcnn.report.provenance import REPOSITORY
from xcnn.report.shards import Pool, pooled
from xcnn.report.tables import Comparison, PaperNumber, Record, Row, aggregate, compare, markdown, read_paper
from xcnn.report.wandb_run import log_run, mode


@dataclass(frozen=True)
class Column:
    """A metric as a table shows it: its title, and how many decimals."""

    metric: str
    title: str
    digits: int = 3


@dataclass(frozen=True)
class Summary:
    """What an experiment makes of its records.

    Args:
        title: of the page.
        text: Markdown; what the numbers say. Written by code from the records.
        columns: of the table of our rows.
        drawings: figures over all records, by file name (`<name>-<what>.png`).
        captions: of the pictures, by file name; those of the cells and those of `drawings`.
    """

    title: str
    text: str
    columns: Sequence[Column] = ()
    drawings: Mapping[str, Figure] = field(default_factory=dict)
    captions: Mapping[str, str] = field(default_factory=dict)


Summarise = Callable[[Sequence[Row], Sequence[PaperNumber]], Summary]


def publish(
    identity: str,
    runs: Path,
    results: Path,
    summarise: Summarise,
    order: Sequence[str] = (),
    to_wandb: bool = True,
    pool: Pool | None = None,
) -> Path:
    """Merge this machine's finished cells into the committed records and render them.

    A cell's new record replaces its old one; other records stay. Files are written only where they change, and W&B gets
    a run only if something did since the last.

    Args:
        identity: `<paper>/<name>`.
        runs: the folder of all runs; the cells are in `runs/<paper>/<name>/*/`.
        results: the folder of all results.
        summarise: of this experiment: our rows and the paper's numbers, to the page.
        order: of the methods in tables.
        to_wandb: send what changed to W&B as well.
        pool: how the rows of several cells are put together; tables are then of what came of that.

    Returns:
        The rendered page, `results/<paper>/<name>.md`.

    Raises:
        UserError: there is no record at all, or a published file has no name of this experiment's.
    """
    home, (paper, name) = runs / identity, identity.split("/")
    folder = results / paper
    known = {record["cell"]: record for record in read_records(folder / f"{name}.runs.jsonl")}
    measured = list(cells.records(home))
    for record in measured + (pooled(home, measured, pool) if pool is not None else []):
        others = {file for cell, other in known.items() if cell != record["cell"] for file in other["files"]}
        files = {}
        for file, content in record["files"].items():
            if not file.startswith((f"{name}.", f"{name}-")):
                raise UserError(f"{identity} publishes {file}; its files must be named {name}.* or {name}-*.")
            # A picture that another cell has published under this name stays.
            public = f"{Path(file).stem}-{record['cell']}{Path(file).suffix}" if file in others else file
            _put(folder / public, (home / record["cell"] / file).read_bytes())
            files[public] = content
        known[record["cell"]] = {**record, "files": files}
    command = f"make {identity.replace('/', '-').replace('_', '-')}"
    if not known:
        raise UserError(f"{identity} has no record yet: run `{command}`.")
    records = [known[cell] for cell in sorted(known)]
    lines = "".join(json.dumps(record, sort_keys=True, allow_nan=False) + "\n" for record in records)
    _put(folder / f"{name}.runs.jsonl", lines.encode())

    rows = aggregate([record for record in records if "pooled" in record["details"]] or records, order)
    entered = folder / f"{name}.paper.csv"  # by hand, hence in the repository, wherever these results go
    paper_numbers = read_paper(entered if entered.is_file() else REPOSITORY / "results" / paper / entered.name)
    summary = summarise(rows, paper_numbers)
    for file, figure in summary.drawings.items():
        with tempfile.TemporaryDirectory() as scratch:
            save_png(figure, Path(scratch) / file)
            _put(folder / file, (Path(scratch) / file).read_bytes())
    pictures = [file for record in records for file in sorted(record["files"])] + list(summary.drawings)
    comparisons = compare(rows, paper_numbers, command)
    page = folder / f"{name}.md"
    _put(page, render(identity, command, summary, rows, comparisons, pictures).encode())

    if to_wandb and mode() != "disabled":
        shown = {Path(file).stem: folder / file for file in pictures if file.endswith(".png")}
        state = fingerprint(
            {str(path): file_hash(path) for path in (page, folder / f"{name}.runs.jsonl", *shown.values())}
        )
        mark = home / "published.json"
        if not (mark.is_file() and read_json(mark) == [state, mode()]):
            log_run(identity, home, wandb_tables(records, rows, summary, comparisons), shown, {"command": command})
            write_json(mark, [state, mode()])
    return page


def brief(page: Path) -> str:
    """What a terminal shows of a page: its table of rows in aligned columns, the pictures' paths, its own."""
    text = page.read_text(encoding="utf-8")
    _, _, tail = text.partition("## All rows")
    cells = [line.strip("| ").split(" | ") for line in tail.splitlines() if line.startswith("|") and "---" not in line]
    table = pd.DataFrame(cells[1:], columns=cells[0]).to_string(index=False) + "\n" if cells else ""
    pictures = [f"picture: {page.parent / name}" for name in re.findall(r"^!\[.*\]\((.*)\)$", text, re.MULTILINE)]
    return "\n".join([table, *pictures, f"results: {page}"]).lstrip()


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records in a `.runs.jsonl`; an absent file has none."""
    if not path.is_file():
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is damaged ({error}): restore it with `git checkout -- {path}`.") from error


def render(
    identity: str,
    command: str,
    summary: Summary,
    rows: Sequence[Row],
    comparisons: Sequence[Comparison],
    pictures: Sequence[str],
) -> str:
    """The page of an experiment, in Markdown."""
    parts = [f"# {summary.title}", f"`{identity}`: rendered from its records by `{command}`.", summary.text.strip()]
    if comparisons:
        parts += ["## The paper's numbers beside ours", comparison_table(comparisons)]
    if summary.columns:
        header = ["method", *(column.title for column in summary.columns), "seeds", "setting"]
        parts += [
            "## All rows (mean ± std over seeds)",
            markdown(
                header,
                [
                    [row.method, *(row.show(c.metric, c.digits) for c in summary.columns), str(row.n), row.setting]
                    for row in rows
                ],
            ),
        ]
    for picture in dict.fromkeys(pictures):
        parts.append(f"![{picture}]({picture})")
        if picture in summary.captions:
            parts.append(summary.captions[picture])
    parts += ["## Where the numbers come from", provenance_text([record for row in rows for record in row.records])]
    return "\n\n".join(part for part in parts if part) + "\n"


def comparison_table(comparisons: Sequence[Comparison]) -> str:
    header = ["method", "quantity", "paper", "source", "ours (n)", "difference", "verdict", "our setting"]
    lines = []
    for comparison in comparisons:
        number, row = comparison.paper, comparison.row
        ours = f"{row.show(comparison.metric)} ({row.n})" if row else "-"
        difference = "-" if math.isnan(comparison.difference) else f"{comparison.difference:+.3f}"
        lines.append(
            [
                number.row,
                comparison.metric,
                f"{number.value:g}",
                number.source,
                ours,
                difference,
                comparison.verdict,
                row.setting if row else "-",
            ]
        )
    return markdown(header, lines)


def provenance_text(records: Sequence[Record]) -> str:
    """One line each for what the records share: code, versions, machine, data, time."""

    def distinct(values: list[str]) -> str:
        return ", ".join(sorted(set(values)))

    trainings = {record["training"]["fingerprint"]: record["training"] for record in records if record["training"]}
    codes = [(r["git_sha"], r["dirty"]) for r in (*records, *trainings.values())]
    versions = {f"{name} {version}" for record in records for name, version in record["versions"].items()}
    lines = [
        f"- records: {len(records)} cells, {sum(record['wall_s'] for record in records) / 60:.1f} minutes of measuring"
        + (
            f"; {len(trainings)} trainings, {sum(t['wall_s'] for t in trainings.values()) / 60:.0f} minutes"
            if trainings
            else ""
        ),
        "- code: "
        + distinct([(sha or "no git")[:10] + (" with local changes" if dirty else "") for sha, dirty in codes]),
        "- versions: "
        + ", ".join(sorted(versions))
        + "; lock "
        + distinct([str(record["lock"]) for record in records]),
        "- measured on: "
        + distinct([f"{record['device']} ({record['machine']}), {record['precision']}" for record in records]),
        "- data: "
        + distinct([f"{record['data']['name']} (manifest {record['data']['manifest']})" for record in records]),
    ]
    return "\n".join(lines)


def wandb_tables(
    records: Sequence[Record], rows: Sequence[Row], summary: Summary, comparisons: Sequence[Comparison]
) -> dict[str, pd.DataFrame]:
    """What W&B gets: a line per cell, the page's rows, and a line per number of the paper."""
    cells_table = pd.DataFrame(
        [
            {
                **{
                    key: record[key]
                    for key in ("cell", "dataset", "model", "method", "seed", "n", "device", "precision")
                },
                **{key: math.nan if value is None else value for key, value in record["values"].items()},
                "git_sha": record["git_sha"],
                "fingerprint": record["fingerprint"],
            }
            for record in records
        ]
    )
    tables = {"cells": cells_table}
    if summary.columns:
        tables["rows"] = pd.DataFrame(
            [
                {
                    "method": row.method,
                    **{column.title: row.show(column.metric, column.digits) for column in summary.columns},
                    "seeds": row.n,
                    "setting": row.setting,
                }
                for row in rows
            ]
        )
    if comparisons:
        tables["paper"] = pd.DataFrame(
            [
                {
                    "method": comparison.paper.row,
                    "quantity": comparison.metric,
                    "paper": comparison.paper.value,
                    "ours": comparison.paper.value + comparison.difference,
                    "difference": comparison.difference,
                    "verdict": comparison.verdict,
                }
                for comparison in comparisons
            ]
        )
    return tables


def _put(path: Path, content: bytes) -> None:
    """Write only what changed, so that a run that finds everything done touches no file."""
    if path.is_file() and path.read_bytes() == content:
        return
    with atomic(path, "wb") as stream:
        stream.write(content)
