"""`<paper>/<name>` stands in its configuration, its experiment, its target and its results, or in none of them."""

import re
import shutil
from pathlib import Path

import pytest

from tools.environment import ROOT
from tools.identity import RESULTS, experiments, missing, target, targets
from tools.index import BEGIN, END, HEADINGS, opening, with_index

PLACES = ("configuration", "experiment", "target", "result")


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A copy of the repository's experiments in which nothing is missing, whether or not all of them were run."""
    for folder in ("experiments", "conf/experiment"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Makefile", tmp_path)
    for identity in experiments(tmp_path):
        for suffix in RESULTS:
            page = tmp_path / "results" / f"{identity}{suffix}"
            page.parent.mkdir(parents=True, exist_ok=True)
            page.touch()
    assert missing(tmp_path) == []
    return tmp_path


def remove(root: Path, identity: str, place: str) -> list[str]:
    """Take an experiment out of one place; the lines that `missing` then owes."""
    files = {
        "configuration": [f"conf/experiment/{identity}.yaml"],
        "experiment": [f"experiments/{identity}.py"],
        "result": [f"results/{identity}{suffix}" for suffix in RESULTS],
    }
    if place == "target":
        makefile = root / "Makefile"
        text, count = re.subn(rf"^{target(identity)}:.*\n", "", makefile.read_text(), flags=re.MULTILINE)
        assert count == 1
        makefile.write_text(text)
        return [f"{identity}: no target {target(identity)} in the Makefile"]
    for file in files[place]:
        (root / file).unlink()
    return [f"{identity}: no {file}" for file in files[place]]


def test_repository() -> None:
    assert missing(ROOT) == []


@pytest.mark.parametrize("identity", ["deconvolve/table1", "demo/shapes"])
@pytest.mark.parametrize("place", PLACES)
def test_one_place_missing(whole: Path, identity: str, place: str) -> None:
    owed = remove(whole, identity, place)
    assert owed and sorted(missing(whole)) == sorted(owed)


@pytest.mark.parametrize("place", PLACES)
def test_three_places_missing(whole: Path, place: str) -> None:
    owed = [line for other in PLACES if other != place for line in remove(whole, "deconvolve/figure1", other)]
    assert sorted(missing(whole)) == sorted(owed)


def test_only_one_of_the_two_results(whole: Path) -> None:
    (whole / "results/demo/shapes.md").unlink()
    assert missing(whole) == ["demo/shapes: no results/demo/shapes.md"]


def test_target_of_a_paper_without_any_file(whole: Path) -> None:
    with (whole / "Makefile").open("a") as makefile:
        makefile.write("\nwhite-box-table9: ; true\n")
    assert len(missing(whole)) == 4
    assert all(line.startswith("white_box/table9: no ") for line in missing(whole))


@pytest.mark.parametrize("identity", experiments(ROOT))
def test_experiment_opens_with_its_headings(identity: str) -> None:
    text = opening(ROOT / "experiments" / f"{identity}.py")
    command = re.match(r"make ([a-z0-9-]+)", text["Command"])
    assert command, "Command: starts with `make <target>`"
    asked = command[1]
    assert asked == target(identity) or target(identity) in targets(ROOT)[asked]  # `make demo` is demo-shapes


@pytest.mark.parametrize("heading", HEADINGS)
def test_heading_missing(tmp_path: Path, heading: str) -> None:
    lines = [f"{name}: text\n    more of {name}" for name in HEADINGS if name != heading]
    (tmp_path / "table9.py").write_text('"""Title.\n\n' + "\n".join(lines) + '\n"""\n')
    with pytest.raises(ValueError, match=f"needs .*{heading}"):
        opening(tmp_path / "table9.py")


def test_headings_with_several_lines(tmp_path: Path) -> None:
    lines = [f"{name}:   text\n    more: of {name}" for name in HEADINGS]
    (tmp_path / "table9.py").write_text('"""Title.\n\n' + "\n".join(lines) + '\n"""\n')
    assert opening(tmp_path / "table9.py") == {"What": "Title"} | {n: f"text more: of {n}" for n in HEADINGS}


def test_index_in_the_readme_is_fresh() -> None:
    readme = (ROOT / "README.md").read_text()
    assert readme == with_index(readme, ROOT), "run `make tables`"


def test_index_follows_experiments_and_results(whole: Path) -> None:
    text = with_index(f"before\n{BEGIN}\nold\n{END}\nafter\n", whole)
    assert text.startswith(f"before\n{BEGIN}\n|") and text.endswith(f"|\n{END}\nafter\n") and "old" not in text
    assert "[deconvolve/table1.md](results/deconvolve/table1.md)" in text
    (whole / "results/deconvolve/table1.md").unlink()
    assert with_index(text, whole) == text.replace(
        "[deconvolve/table1.md](results/deconvolve/table1.md)", "not run yet"
    )
    (whole / "experiments/deconvolve/table1.py").unlink()
    assert "deconvolve/table1" not in with_index(text, whole)


@pytest.mark.parametrize("readme", ["", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}\n{BEGIN}\n{END}"])
def test_index_without_its_markers(readme: str) -> None:
    with pytest.raises(ValueError, match=r"README.md must have"):
        with_index(readme, ROOT)
