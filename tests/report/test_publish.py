"""What is committed follows from the records; W&B gets all of it, offline unless asked."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
from matplotlib.figure import Figure

from tests.conftest import tree
from tests.report.wandb_file import logged
from xcnn.errors import UserError
from xcnn.figures import save_png
from xcnn.fingerprint import file_hash
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary
from xcnn.report import publish as publish_from
from xcnn.report.page import HEADINGS, Summarise
from xcnn.report.provenance import UNKNOWN
from xcnn.report.publish import brief, read_records

TEMPLATE = """{% extends "page.md.jinja" %}
{% block answer %}
{{ rows | length | plural("row") }}, {{ comparisons | length | plural("number") }} in the paper.
{% endblock %}
{% block ours %}some{% endblock %}
{% block figure %}{% for file in pictures %}{{ picture(file, "A map." if "map" in file else "An overview.") }}
{% endfor %}{% endblock %}
"""


def drawing() -> Figure:
    figure = Figure((1, 1))
    figure.subplots().plot([0, 1])
    return figure


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    return Summary("A table", columns=[Column("accuracy", "test accuracy")], drawings={"table-overview.png": drawing()})


def publish(identity: str, runs: Path, results: Path, summarise: Summarise, **options: Any) -> Path:
    """With the page's template in a folder of experiments beside the results."""
    return publish_from(identity, runs, results, summarise, experiments=results.parent / "experiments", **options)


def finish(runs: Path, method: str, seed: int, accuracy: float, **options: Any) -> None:
    labels = {"dataset": "toy", "model": "conv3", "method": method, "seed": seed}
    name = f"toy-conv3-{method}-s{seed}"
    cell = Cell("paper/table", name, runs / "paper/table" / name, {"method": method, "seed": seed}, labels)

    def measure(one: Cell) -> Measured:
        if "files" in options:
            save_png(drawing(), one.folder / options["files"][0])
        return Measured({"accuracy": accuracy}, 10, {"name": "Toy", "manifest": "0123"}, **options)

    cell.run(measure)


@pytest.fixture
def cells(places: Path) -> Path:
    (places / "results/paper").mkdir(parents=True)
    (places / "experiments/paper").mkdir(parents=True)
    headings = "\n".join(f"{name}: text" for name in HEADINGS)
    (places / "experiments/paper/table.py").write_text(f'"""A table.\n\n{headings}\n"""\n')
    (places / "experiments/paper/table.md.jinja").write_text(TEMPLATE)
    paper = "row,metric,value,unit,source\nplain,accuracy,0.85,,section 4\nloss,accuracy,1.0,,section 4\n"
    (places / "results/paper/table.paper.csv").write_text(paper)
    finish(places / "runs", "plain", 0, 0.84, files=["table-map.png"])
    finish(places / "runs", "plain", 1, 0.88)
    finish(places / "runs", "loss", 0, 0.9)
    return places


def test_the_page_the_records_and_the_pictures(cells: Path) -> None:
    page = publish("paper/table", cells / "runs", cells / "results", summarise, to_wandb=False)
    text = page.read_text()
    assert "| plain | test accuracy | 0.85 | section 4 | 0.86 [0.61, 1.11] | 2 seeds | +0.01 | agrees |" in text
    assert "| loss | test accuracy | 1.0 | section 4 | 0.9 |" in text and "| differs |" in text
    assert "**Not reproduced.** 2 rows, 2 numbers in the paper.\n" in text and "Toy (manifest 0123)" in text
    assert text.index("![table-map](table-map.png)") < text.index("A map.") < text.index("(table-overview.png)")
    assert {path.name for path in page.parent.iterdir()} == {
        "table.md", "table.runs.jsonl", "table.paper.csv", "table-map.png", "table-overview.png",
    }  # fmt: skip
    records = [json.loads(line) for line in (page.parent / "table.runs.jsonl").read_text().splitlines()]
    assert [record["cell"] for record in records] == ["toy-conv3-loss-s0", "toy-conv3-plain-s0", "toy-conv3-plain-s1"]
    assert records[1]["files"] == {"table-map.png": file_hash(page.parent / "table-map.png")}


def test_a_picture_of_a_name_that_another_cell_has_is_kept_beside_it(cells: Path, tmp_path: Path) -> None:
    publish("paper/table", cells / "runs", cells / "results", summarise, to_wandb=False)
    first = (cells / "results/paper/table-map.png").read_bytes()
    finish(cells / "runs", "a", 0, 0.9, files=["table-map.png"])  # its cell comes before the other's
    (cells / "runs/paper/table/toy-conv3-a-s0/table-map.png").write_bytes(first + b"other")
    for _ in range(2):
        page = publish("paper/table", cells / "runs", cells / "results", summarise, to_wandb=False)
        assert (page.parent / "table-map.png").read_bytes() == first
        assert (page.parent / "table-map-toy-conv3-a-s0.png").read_bytes() == first + b"other"
        records = {r["cell"]: r for r in map(json.loads, (page.parent / "table.runs.jsonl").read_text().splitlines())}
        assert list(records["toy-conv3-a-s0"]["files"]) == ["table-map-toy-conv3-a-s0.png"]
        assert list(records["toy-conv3-plain-s0"]["files"]) == ["table-map.png"]


def test_the_terminal_shows_the_table_and_where_the_pictures_are(cells: Path) -> None:
    titles = {"plain": {"title": "Cross-entropy"}}
    page = publish("paper/table", cells / "runs", cells / "results", summarise, to_wandb=False, titles=titles)
    lines = brief(page).splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["method", "test", "accuracy", "seeds"], ["loss", "0.900", "1"], ["Cross-entropy", "0.860", "±", "0.028", "2"],
    ]  # fmt: skip
    pictures = [f"picture: {page.parent / name}" for name in ("table-map.png", "table-overview.png")]
    assert lines[-3:] == [*pictures, f"results: {page}"]


def test_a_new_record_replaces_its_old_one_and_others_stay(cells: Path, tmp_path: Path) -> None:
    publish("paper/table", cells / "runs", cells / "results", summarise, to_wandb=False)
    finish(tmp_path / "elsewhere", "loss", 0, 0.99)
    page = publish("paper/table", tmp_path / "elsewhere", cells / "results", summarise, to_wandb=False)
    assert "| loss | 0.990 | 1 |" in page.read_text() and "| plain | 0.860 ± 0.028 | 2 |" in page.read_text()


def rows_of(runs: Path, method: str, values: list[float]) -> None:
    frame = pd.DataFrame({"image": range(len(values)), "id": [f"a{k}" for k in range(len(values))], "drop": values})
    frame.to_parquet(runs / f"paper/table/toy-conv3-{method}-s0/rows.parquet", index=False)


def test_weights_described_later_are_described_everywhere(cells: Path) -> None:
    unknown = {"weights": "1234", "weights_provenance": f"{UNKNOWN}, hash 1234"}
    finish(cells / "runs", "early", 0, 0.5, **unknown)
    finish(cells / "runs", "other", 0, 0.5, **(unknown | {"weights": "5678"}))
    finish(cells / "runs", "late", 0, 0.5, weights="1234", weights_provenance="quantised, 70.8 % top-1")
    text = publish("paper/table", cells / "runs", cells / "results", summarise).read_text()
    assert "- weights: conv3: 1234, quantised, 70.8 % top-1; conv3: 5678, unknown provenance, hash 1234\n" in text
    kept = read_records(cells / "results/paper/table.runs.jsonl")
    assert [one["weights_provenance"] for one in kept if one["method"] == "early"] == [unknown["weights_provenance"]]


def test_rows_are_kept_where_the_experiment_asks_for_it(cells: Path, tmp_path: Path) -> None:
    def keeping(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
        return replace(summarise(rows, paper), keep_rows=True)

    rows_of(cells / "runs", "plain", [0.1, 0.2, 0.3])
    rows_of(cells / "runs", "loss", [1.0, 2.0])
    page = publish("paper/table", cells / "runs", cells / "results", keeping, to_wandb=False)
    kept = pd.read_parquet(page.parent / "table.rows.parquet")
    assert kept["cell"].tolist() == ["toy-conv3-loss-s0"] * 2 + ["toy-conv3-plain-s0"] * 3
    assert kept["drop"].dtype == "float32" and kept["drop"].tolist() == pytest.approx([1.0, 2.0, 0.1, 0.2, 0.3])
    assert kept["image"].tolist() == [0, 1, 0, 1, 2] and kept["id"].tolist() == ["a0", "a1", "a0", "a1", "a2"]
    assert (
        pyarrow.parquet.ParquetFile(page.parent / "table.rows.parquet").metadata.row_group(0).column(0).compression
        == "ZSTD"
    )

    before = (page.parent / "table.rows.parquet").read_bytes()
    publish("paper/table", cells / "runs", cells / "results", keeping, to_wandb=False)
    assert (page.parent / "table.rows.parquet").read_bytes() == before
    finish(tmp_path / "elsewhere", "loss", 0, 0.99)  # a machine that has only this cell
    publish("paper/table", tmp_path / "elsewhere", cells / "results", keeping, to_wandb=False)
    assert (page.parent / "table.rows.parquet").read_bytes() == before
    rows_of(tmp_path / "elsewhere", "loss", [5.0])
    publish("paper/table", tmp_path / "elsewhere", cells / "results", keeping, to_wandb=False)
    assert pd.read_parquet(page.parent / "table.rows.parquet")["drop"].tolist() == pytest.approx([5.0, 0.1, 0.2, 0.3])
    rows_of(cells / "runs", "loss", np.random.default_rng(0).random(400_000).tolist())
    with pytest.raises(UserError, match=r"are 3\.\d MB, and table\.rows\.parquet is to have at most 1\.5"):
        publish("paper/table", cells / "runs", cells / "results", keeping, to_wandb=False)


def test_nothing_to_publish_and_a_stray_file_are_errors(cells: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run `make paper-empty`"):
        publish("paper/empty", cells / "runs", cells / "results", summarise)
    finish(cells / "runs", "loss", 1, 0.9, files=["figure1.png"])
    with pytest.raises(UserError, match=r"must be named table\.\* or table-\*"):
        publish("paper/table", cells / "runs", cells / "results", summarise)


def test_an_offline_run_holds_every_table_and_figure(cells: Path) -> None:
    page = publish("paper/table", cells / "runs", cells / "results", summarise)
    (run,) = (cells / "runs/paper/table/wandb").glob("offline-run-*")
    found = logged(run)
    table = json.loads((run / "files" / found["tables/cells/path"]).read_text())
    frame = pd.DataFrame(table["data"], columns=table["columns"]).set_index("cell")
    assert frame["accuracy"].to_dict() == {
        "toy-conv3-loss-s0": 0.9, "toy-conv3-plain-s0": 0.84, "toy-conv3-plain-s1": 0.88,
    }  # fmt: skip
    verdicts = json.loads((run / "files" / found["tables/paper/path"]).read_text())
    assert dict(zip(verdicts["columns"], verdicts["data"][0], strict=True)) == {
        "method": "plain", "quantity": "accuracy", "paper": 0.85, "ours": pytest.approx(0.86),
        "low": pytest.approx(0.86 - 12.7062 * 0.02, abs=1e-4), "high": pytest.approx(0.86 + 12.7062 * 0.02, abs=1e-4),
        "difference": pytest.approx(0.01), "verdict": "agrees",
    }  # fmt: skip
    shown = json.loads((run / "files" / found["tables/rows/path"]).read_text())
    assert shown["columns"] == ["method", "test accuracy", "seeds", "setting"]
    assert ["plain", "0.860 ± 0.028", 2, "Toy"] in shown["data"]
    pictures = {path.name for path in page.parent.glob("*.png")}
    assert pictures == {"table-map.png", "table-overview.png"}
    for picture in pictures:
        sent = run / "files" / found[f"figures/{Path(picture).stem}/path"]
        assert sent.read_bytes() == (page.parent / picture).read_bytes()


def test_publishing_again_writes_nothing_and_logs_nothing(cells: Path) -> None:
    publish("paper/table", cells / "runs", cells / "results", summarise)
    before = tree(cells)
    publish("paper/table", cells / "runs", cells / "results", summarise)
    assert tree(cells) == before
    finish(cells / "runs", "loss", 1, 0.95)
    publish("paper/table", cells / "runs", cells / "results", summarise)
    assert len(list((cells / "runs/paper/table/wandb").glob("offline-run-*"))) == 2


class _Run:
    def __init__(self, sent: list[Any], options: dict[str, Any]):
        self.sent = sent
        sent.append(options)

    def log(self, payload: dict[str, Any]) -> None:
        self.sent.append({key: type(value).__name__ for key, value in payload.items()})

    def finish(self) -> None:
        self.sent.append("finished")


def test_asked_to_be_online_it_sends_the_same(cells: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    sent: dict[str, list[Any]] = {"offline": [], "online": []}
    for asked in ("offline", "online"):
        monkeypatch.setenv("WANDB_MODE", asked)
        monkeypatch.setattr(wandb, "init", lambda asked=asked, **options: _Run(sent[asked], options))
        publish("paper/table", cells / "runs", cells / "results", summarise)
    assert [sent[asked][0].pop("mode") for asked in sent] == ["offline", "online"]
    for log in sent.values():
        log[0].pop("settings")
    assert sent["online"] == sent["offline"]
    assert set(sent["online"][1]) == {
        "tables/cells", "tables/rows", "tables/paper", "figures/table-map", "figures/table-overview",
    }  # fmt: skip
    monkeypatch.setenv("WANDB_MODE", "disabled")
    finish(cells / "runs", "loss", 2, 0.95)
    publish("paper/table", cells / "runs", cells / "results", summarise)
    assert sent["online"][-1] == "finished" and len(sent["online"]) == 3
