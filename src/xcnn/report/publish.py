"""From finished cells to what is committed: records, figures, a rendered table; and the same to W&B.

Everything here is a function of the records, so running it again changes nothing. No number is typed by hand.
"""

import itertools
import json
import math
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from xcnn.errors import UserError
from xcnn.figures import save_png
from xcnn.files import atomic, read_json, write_json
from xcnn.fingerprint import file_hash, fingerprint
from xcnn.report import cells
from xcnn.report.page import Page, Summarise, Summary, Titles
from xcnn.report.provenance import REPOSITORY, described
from xcnn.report.shards import Pool, pooled
from xcnn.report.tables import Record, Row, aggregate, read_paper
from xcnn.report.verdicts import Comparison, compare
from xcnn.report.wandb_run import log_run, mode

ROWS_LIMIT = 1_500_000  # bytes of a committed file of rows


def publish(
    identity: str,
    runs: Path,
    results: Path,
    summarise: Summarise,
    order: Sequence[str] = (),
    to_wandb: bool = True,
    pool: Pool | None = None,
    titles: Titles | None = None,
    protocol: int | None = None,
    experiments: Path = REPOSITORY / "experiments",
) -> Path:
    """Merge this machine's finished cells into the committed records and render them.

    A cell's new record replaces its old one; other records stay. Files are written only where they change, and W&B gets
    a run only if something did since the last.

    Args:
        identity: `<paper>/<name>`.
        runs: the folder of all runs; the cells are in `runs/<paper>/<name>/*/`.
        results: the folder of all results.
        summarise: of this experiment: our rows and the paper's numbers, to what its page needs.
        order: of the methods in tables.
        to_wandb: send what changed to W&B as well.
        pool: how the rows of several cells are put together; tables are then of what came of that.
        titles: of methods, networks and data sets, by their names in records.
        protocol: number of what the experiment measures today; the page says which records are of another.
        experiments: the folder of the experiments, with the pages' templates.

    Returns:
        The rendered page, `results/<paper>/<name>.md`.

    Raises:
        UserError: there is no record at all, a published file has no name of this experiment's, the template is at
            fault, or the rows to be committed are too many.
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
    merged = [known[cell] for cell in sorted(known)]
    lines = "".join(json.dumps(record, sort_keys=True, allow_nan=False) + "\n" for record in merged)
    _put(folder / f"{name}.runs.jsonl", lines.encode())

    records = described(merged)
    rows = aggregate([record for record in records if "pooled" in record["details"]] or records, order)
    entered = folder / f"{name}.paper.csv"  # by hand, hence in the repository, wherever these results go
    paper_numbers = read_paper(entered if entered.is_file() else REPOSITORY / "results" / paper / entered.name)
    summary = summarise(rows, paper_numbers)
    for file, figure in summary.drawings.items():
        with tempfile.TemporaryDirectory() as scratch:
            save_png(figure, Path(scratch) / file)
            _put(folder / file, (Path(scratch) / file).read_bytes())
    owners: dict[str, Record | None] = {file: record for record in records for file in sorted(record["files"])}
    pictures = owners | dict.fromkeys(summary.drawings)
    comparisons = compare(rows, paper_numbers)
    page = folder / f"{name}.md"
    made = Page(identity, command, summary, rows, comparisons, pictures, titles or {}, protocol)
    _put(page, made.render(experiments).encode())
    if summary.keep_rows:
        _keep_rows(folder / f"{name}.rows.parquet", home, [record["cell"] for record in records])

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


def _keep_rows(path: Path, home: Path, chosen: Sequence[str]) -> None:
    """The rows of all cells in one file; those of cells that were measured elsewhere stay as they are in it."""
    parts = [
        pd.read_parquet(home / cell / "rows.parquet").assign(cell=cell) for cell in chosen if _has_rows(home, cell)
    ]
    if not parts:
        return
    new = {str(part["cell"].iloc[0]) for part in parts}
    if path.is_file():
        old = pd.read_parquet(path)
        parts.append(old[old["cell"].isin(set(chosen) - new)])
    rows = pd.concat(parts, ignore_index=True).sort_values(["cell", "image"], ignore_index=True)
    rows = rows[["cell", *(name for name in rows if name != "cell")]]
    narrow = {"f": "float32", "i": "int32"}
    rows = rows.astype({name: narrow[kind.kind] for name, kind in rows.dtypes.items() if kind.kind in narrow})
    rows = rows.astype({name: "category" for name in rows if rows[name].dtype == object})
    content = rows.to_parquet(index=False, compression="zstd", compression_level=19)
    if len(content) > ROWS_LIMIT:
        raise UserError(
            f"the rows of all cells are {len(content) / 1e6:.1f} MB, and {path.name} is to have at most "
            f"{ROWS_LIMIT / 1e6:.1f}: keep fewer images or columns, or leave Summary(keep_rows=...) out."
        )
    _put(path, content)


def _has_rows(home: Path, cell: str) -> bool:
    return (home / cell / "rows.parquet").is_file()


def brief(page: Path) -> str:
    """What a terminal shows of a page: its table of rows in aligned columns, the pictures' paths, its own."""
    text = page.read_text(encoding="utf-8")
    _, _, tail = text.partition("All rows")
    lines = itertools.dropwhile(lambda line: not line.startswith("|"), tail.splitlines()[1:])
    table = [line for line in itertools.takewhile(lambda line: line.startswith("|"), lines) if "---" not in line]
    cells = [line.removeprefix("| ").removesuffix(" |").split(" | ") for line in table]
    shown = pd.DataFrame(cells[1:], columns=cells[0]).to_string(index=False) + "\n" if cells else ""
    pictures = [f"picture: {page.parent / name}" for name in re.findall(r"^!\[.*\]\((.*)\)$", text, re.MULTILINE)]
    return "\n".join([shown, *pictures, f"results: {page}"]).lstrip()


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records in a `.runs.jsonl`; an absent file has none."""
    if not path.is_file():
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is damaged ({error}): restore it with `git checkout -- {path}`.") from error


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
                    "ours": comparison.ours.value if comparison.ours else math.nan,
                    "low": comparison.ours.low if comparison.ours else math.nan,
                    "high": comparison.ours.high if comparison.ours else math.nan,
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
