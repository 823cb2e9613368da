"""White-box survey: a leaderboard of all methods, faithful, localised, robust, sane and cheap, with controls.

Paper:      Ayyar et al. 2021; the survey asks for comparisons and makes none.
Command:    make white-box-leaderboard
Reports:    nothing.
Cost:       that of the parts whose cells are not finished (localisation, similarity, robustness, sanity, time); seconds
            where all are.
Deviations: the survey has no such table. A cell runs the cells of the other experiments with its own choices, or reads
            them where they are finished; a method of one's own joins with attribution=<its configuration>.
"""

import importlib
from collections.abc import Mapping, Sequence
from functools import partial

import pandas as pd

from experiments.white_box.families import CONTROLS, methods_plot
from xcnn.evaluation.image_rows import pool_metrics
from xcnn.launch import Setup, launch
from xcnn.launch.compose import compose
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary
from xcnn.report.shards import side_by_side


def measure(setup: Setup, cell: Cell) -> Measured:
    columns: dict[str, pd.Series | float] = {}
    members: dict[str, str] = {}
    record = {}
    for name, part in setup.options.parts.items():
        module = importlib.import_module(f"experiments.{part.experiment.replace('/', '.')}")
        other, source = setup.part(part.experiment)
        record = source.run(partial(module.measure, other))
        members[f"{part.experiment}/{source.name}"] = record["fingerprint"]
        rows = source.folder / "rows.parquet"
        if rows.is_file():
            columns[name] = pd.read_parquet(rows, columns=["id", part.metric]).set_index("id")[part.metric]
        else:
            columns[name] = record["values"][part.metric]
    table = pd.DataFrame(columns).reset_index(names="id")
    table.insert(1, "broken", table[list(columns)].isna().all(axis=1))
    rows_of = cell.rows(len(table), len(table), lambda places: table.iloc[list(places)].copy())
    values = {name: float(rows_of[name].mean()) for name in columns}
    kept = {key: record[key] for key in ("data", "weights", "weights_provenance", "device", "precision")}
    return Measured(values, len(table), details={"parts": members}, **kept)


def pool(rows: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, float]]:
    return pool_metrics(rows, references=["gradient"])


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    parts = compose("white_box/leaderboard").parts
    drawings, networks = {}, []
    for place, group in side_by_side(rows).items():
        file = f"leaderboard-{place}.png"
        drawings[file] = methods_plot(group, {name: name for name in parts if name != "cheap"})
        values = pd.DataFrame({row.method: [row.mean[name] for name in parts] for row in group}, index=list(parts)).T
        ranks = pd.DataFrame({n: values[n].rank(ascending=part.better == "lower") for n, part in parts.items()})
        mean = {str(name): float(value) for name, value in ranks.mean(axis=1).items()}
        ordered: list[Row] = sorted(group, key=lambda row: mean[row.method])
        blind = [row.method for row in group if row.method in CONTROLS]
        found = {"rows": ordered, "file": file, "ranks": ranks.T.to_dict(), "mean": mean}
        best = ranks.drop(blind).idxmin().to_dict()
        networks.append(found | {"best": best, "controls": [row for row in ordered if row.method in blind]})
    columns = [Column(name, name) for name in parts]
    facts = {"networks": networks, "parts": {name: dict(part) for name, part in parts.items()}, "blind": CONTROLS}
    title = "White-box survey: the leaderboard"
    return Summary(title, columns=columns, drawings=drawings, verdict="not comparable", facts=facts)


if __name__ == "__main__":
    launch(__file__, measure, summarise, pool=pool)
