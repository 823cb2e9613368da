"""Who may import whom, where Hydra and W&B may be seen, and how long a file may be."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.environment import ROOT

RANK = {
    **dict.fromkeys(("colour", "device", "errors", "files", "fingerprint"), 0),
    **dict.fromkeys(("data", "models"), 1),
    "training": 2,
    **dict.fromkeys(("attribution", "prototypes", "filters", "language", "surrogates"), 3),
    **dict.fromkeys(("metrics", "figures"), 4),
    "report": 5,
    "evaluation": 6,
    "launch": 7,
    "apps": 8,
}
SUBJECTS = {"data", "models", "training", "attribution", "prototypes", "filters", "language", "surrogates", "metrics"}
GROUND = 0  # its modules may import each other; those of any later rank may not
SEES_HYDRA = ("launch", "apps")
LONGEST_MODULE, LONGEST_EXPERIMENT = 400, 80  # lines
LONGER: dict[str, str] = {  # experiments that may have more, each with its reason
    "visual_revelations/shortcut.py": "asks four kinds of explanation about the same networks in one cell",
}
NAMED_AFTER_NOTHING = {"util", "utils", "helper", "helpers", "common", "misc"}


def imports(tree: ast.AST, inside: bool = False) -> Iterator[tuple[str, bool]]:
    """Imported names (`xcnn.models.split`, `xcnn.files.atomic`), and whether the import runs in a function only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module or ''}.{alias.name}", inside) for alias in node.names)
            if node.level:
                yield ".", inside
        yield from imports(node, inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def violations(package: Path) -> list[str]:
    """A line for each import in the package that the design forbids."""
    found = []
    for path in sorted(package.rglob("*.py")):
        where = path.relative_to(package)
        layer = where.parts[0].removesuffix(".py")
        if layer == "__init__":
            layer = "errors"  # the package itself belongs to the ground
        for name, lazy in imports(ast.parse(path.read_text())):
            root, *rest = name.split(".")
            if name == ".":
                found.append(f"{where}: a relative import; write xcnn.<layer>")
            elif root == "xcnn" and rest:
                if not _allowed(layer, rest[0]):
                    found.append(f"{where}: {layer} may not import {rest[0]}")
            elif root in ("hydra", "omegaconf") and layer not in SEES_HYDRA:
                found.append(f"{where}: imports {root}; only {', '.join(SEES_HYDRA)} and experiments/ do")
            elif (root == "wandb" or rest[-1:] == ["WandbLogger"]) and not (layer == "report" and lazy):
                found.append(f"{where}: imports {name}; only report/ does, inside a function")
    return found


def _allowed(layer: str, other: str) -> bool:
    if layer not in RANK or other not in RANK:
        return False  # a package that the design does not name
    if layer == "report" and other in SUBJECTS:
        return False
    return layer == other or RANK[other] < RANK[layer] or RANK[other] == RANK[layer] == GROUND


def test_package() -> None:
    assert violations(ROOT / "src" / "xcnn") == []


@pytest.mark.parametrize(
    ("file", "line", "forbidden"),
    [
        ("filters/a.py", "from xcnn.language import describe", True),
        ("filters/a.py", "import xcnn.language.describer", True),
        ("filters/a.py", "from xcnn import language", True),
        ("filters/a.py", "def f():\n    from xcnn.report.cells import Cell", True),
        ("filters/a.py", "from xcnn.models.split import split_at", False),
        ("filters/a.py", "from xcnn.filters.score import score_filters", False),
        ("filters/a.py", "from ..language import describe", True),
        ("metrics/a.py", "from xcnn.figures import style", True),
        ("metrics/a.py", "from xcnn.attribution import GradCAM", False),
        ("data/a.py", "from xcnn.models import conv3", True),
        ("models/a.py", "from xcnn.data import Shapes", True),
        ("files.py", "from xcnn.errors import UserError", False),
        ("files.py", "from xcnn.data import Shapes", True),
        ("__init__.py", "from xcnn.data import Shapes", True),
        ("report/a.py", "from xcnn.launch import launch", True),
        ("report/a.py", "from xcnn.filters import score_filters", True),
        ("report/a.py", "from xcnn.language import verify", True),
        ("report/a.py", "from xcnn.figures import save_png", False),
        ("apps/a.py", "from xcnn.launch import launch", False),
        ("launch.py", "from xcnn.apps import explorer", True),
        ("extra/a.py", "from xcnn.errors import UserError", True),
        ("training/a.py", "from omegaconf import DictConfig", True),
        ("report/a.py", "import hydra.utils", True),
        ("launch.py", "import hydra", False),
        ("apps/a.py", "from hydra import compose", False),
        ("report/a.py", "import wandb", True),
        ("report/a.py", "def f():\n    import wandb", False),
        ("report/a.py", "class A:\n    import wandb", True),
        ("report/a.py", "from pytorch_lightning.loggers import WandbLogger", True),
        ("report/a.py", "def f():\n    from pytorch_lightning.loggers import WandbLogger", False),
        ("training/a.py", "def f():\n    import wandb", True),
        ("training/a.py", "def f():\n    from wandb.sdk import Run", True),
    ],
)
def test_rule(tmp_path: Path, file: str, line: str, forbidden: bool) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(line + "\n")
    assert len(violations(tmp_path)) == int(forbidden)


def test_experiments_import_wandb_through_report_only() -> None:
    scripts = [path for folder in ("experiments", "benchmarks", "tools") for path in (ROOT / folder).rglob("*.py")]
    assert scripts
    for path in scripts:
        assert not [name for name, _ in imports(ast.parse(path.read_text())) if name.split(".")[0] == "wandb"], path


def test_files_are_named_after_what_is_in_them() -> None:
    folders = ("src", "experiments", "tests", "tools", "benchmarks", "notebooks")
    stems = {path.stem.lower().removeprefix("test_") for folder in folders for path in (ROOT / folder).rglob("*.py")}
    assert "score" in stems
    assert not stems & NAMED_AFTER_NOTHING


def long_files(folder: Path, longest: int, containing: str = "") -> dict[str, int]:
    """Lines of each file that has more than `longest`, of those that contain a text."""
    texts = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.py")}
    lengths = {name: len(text.splitlines()) for name, text in texts.items() if containing in text}
    return {name: length for name, length in sorted(lengths.items()) if length > longest}


def test_no_module_is_too_long() -> None:
    assert long_files(ROOT / "src" / "xcnn", LONGEST_MODULE) == {}


def test_experiments_are_as_short_as_a_papers_section() -> None:
    """Those that are longer have a reason, and a reason goes when the file is short again."""
    found = long_files(ROOT / "experiments", LONGEST_EXPERIMENT, "launch(__file__")
    assert found.keys() == LONGER.keys() and all(LONGER.values())


def test_a_long_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "paper").mkdir()
    (tmp_path / "paper/table.py").write_text("x = 1\n" * 81)
    (tmp_path / "paper/shared.py").write_text("launch(__file__)\n" + "x = 1\n" * 79)
    assert long_files(tmp_path, 80) == {"paper/table.py": 81} and long_files(tmp_path, 80, "launch(__file__") == {}
    (tmp_path / "paper/shared.py").write_text("launch(__file__)\n" + "x = 1\n" * 80)
    assert long_files(tmp_path, 80, "launch(__file__") == {"paper/shared.py": 81}
