"""Notebooks read results only, and what is committed is what their sources give."""

import ast
import json
from pathlib import Path

import jupytext
import pytest

from xcnn.report.provenance import REPOSITORY

SOURCES = sorted((REPOSITORY / "notebooks").glob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_executed_notebook_is_that_of_its_source(source: Path) -> None:
    executed = source.with_suffix(".ipynb")
    assert executed.is_file(), f"{executed.name} is missing: run `make notebooks`"
    expected = [(cell.cell_type, cell.source) for cell in jupytext.read(source).cells]
    found = json.loads(executed.read_text())
    assert [(cell["cell_type"], "".join(cell["source"])) for cell in found["cells"]] == expected, "run `make notebooks`"
    code = [cell for cell in found["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1)), (
        "not executed from top to bottom"
    )
    assert not any(output["output_type"] == "error" for cell in code for output in cell["outputs"])
    assert sum(bool(cell["outputs"]) for cell in code) >= len(code) - 2


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_it_reads_results_and_nothing_that_trains_or_loads_data(source: Path) -> None:
    modules = {
        node.module if isinstance(node, ast.ImportFrom) else name.name
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    ours = {module for module in modules if module and module.startswith("xcnn")}
    assert ours and all(module.startswith(("xcnn.report", "xcnn.figures")) for module in ours)
    assert not modules & {"torch", "pytorch_lightning", "hydra"}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_its_cells_run(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(source.parent)
    code = "\n\n".join(cell.source for cell in jupytext.read(source).cells if cell.cell_type == "code")
    exec(compile(code, str(source), "exec"), {"__name__": "notebook"})  # an error in any cell fails here
