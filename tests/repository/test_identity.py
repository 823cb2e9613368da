"""`<paper>/<name>` stands in its configuration, its experiment, its page template and its results, or in none."""

import re
import shutil
from pathlib import Path

import pytest

from tools.environment import ROOT
from tools.identity import PAGE, RESULTS, experiments, missing, target
from xcnn.report.page import opening

PLACES = ("configuration", "experiment", "template", "result")


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A copy of the repository's experiments in which nothing is missing, whether or not all of them were run."""
    for folder in ("experiments", "conf/experiment"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Makefile", tmp_path)
    for identity in experiments(tmp_path):
        (tmp_path / "experiments" / f"{identity}{PAGE}").touch()
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
        "template": [f"experiments/{identity}{PAGE}"],
        "result": [f"results/{identity}{suffix}" for suffix in RESULTS],
    }
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


@pytest.mark.parametrize("place", [place for place in PLACES if place != "experiment"])  # which alone is shared code
def test_three_places_missing(whole: Path, place: str) -> None:
    owed = [line for other in PLACES if other != place for line in remove(whole, "deconvolve/figure1", other)]
    assert sorted(missing(whole)) == sorted(owed)


def test_only_one_of_the_two_results(whole: Path) -> None:
    (whole / "results/demo/shapes.md").unlink()
    assert missing(whole) == ["demo/shapes: no results/demo/shapes.md"]


def test_target_of_a_paper_without_any_file(whole: Path) -> None:
    with (whole / "Makefile").open("a") as makefile:
        makefile.write("\nwhite-box-table9: ; true\n")
    assert len(missing(whole)) == 5
    assert all(line.startswith("white_box/table9: no ") for line in missing(whole))


@pytest.mark.parametrize("identity", experiments(ROOT))
def test_experiment_opens_with_its_headings(identity: str) -> None:
    text = opening(ROOT / "experiments" / f"{identity}.py")
    command = re.match(r"make ([a-z0-9-]+)", text["Command"])
    assert command, "Command: starts with `make <target>`"
    module = f"-m experiments.{identity.replace('/', '.')}"
    runs = (ROOT / "Makefile").read_text().partition(f"\n{command[1]}: ")[2].partition("\n\n")[0]
    assert command[1] == target(identity) or module in runs  # `make demo` is demo/shapes, in a place of its own


def test_what_a_paper_shares_is_no_experiment(whole: Path) -> None:
    (whole / "experiments/deconvolve/shared.py").touch()
    (whole / "experiments/deconvolve/shared.jinja").touch()
    assert missing(whole) == [] and "deconvolve/shared" not in experiments(whole)
    (whole / "experiments/deconvolve/shared.md.jinja").touch()
    assert "deconvolve/shared: no conf/experiment/deconvolve/shared.yaml" in missing(whole)


def test_a_name_that_no_module_can_have(whole: Path) -> None:
    for file in ("experiments/deconvolve/3-d.py", "experiments/deconvolve/3-d.md.jinja"):
        (whole / file).touch()
    assert "deconvolve/3-d: no name that Python can import" in missing(whole)
