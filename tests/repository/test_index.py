"""The indices of results: fresh, complete, and filled from what the pages hand over."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.environment import ROOT
from tools.identity import experiments
from tools.index import BEGIN, END, index, papers, summary, with_summary


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A copy of what the indices are made of; pages are empty."""
    for folder in ("experiments", "conf/experiment"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "CITATION.cff", tmp_path)
    (tmp_path / "results").mkdir()
    shutil.copy(ROOT / "results/papers.yaml", tmp_path / "results")
    for identity in experiments(tmp_path):
        (tmp_path / f"results/{identity}.md").parent.mkdir(exist_ok=True)
        hand_over(tmp_path, identity, "not reproduced")
    return tmp_path


def hand_over(root: Path, identity: str, verdict: str, **line: Any) -> None:
    line = {"verdict": verdict, "ours": "ours | here", "n": {"images": [480, 1000], "seeds": [2, 2]}} | line
    (root / f"results/{identity}.md").write_text(f"<!-- xcnn {json.dumps(line)} -->\n# A page\n")


def test_the_indices_are_fresh() -> None:
    assert (ROOT / "results/README.md").read_text() == index(ROOT), "run `make tables`"
    readme = (ROOT / "README.md").read_text()
    assert readme == with_summary(readme, ROOT), "run `make tables`"


def test_all_five_papers_are_listed_with_authors() -> None:
    assert [paper.name for paper in papers(ROOT) if paper.authors] == [
        "deconvolve", "visual_revelations", "self_explanation", "white_box", "pixel_ablation_cam",
    ]  # fmt: skip
    found = {paper.name: paper for paper in papers(ROOT)}
    assert found["self_explanation"].authors == "Boubekki and Clemmensen 2026"
    assert found["self_explanation"].link == "https://arxiv.org/abs/2603.28466"
    assert found["pixel_ablation_cam"].authors == "Samanta et al. 2025"


def test_a_row_of_a_page_that_was_run_and_of_one_that_was_not(whole: Path) -> None:
    text = index(whole)
    row = next(line for line in text.splitlines() if line.startswith("| [Table 2: VGG-16 on ImageNet val]"))
    assert "](pixel_ablation_cam/table2.md) | drop of confidence 49.09" in row
    assert row.endswith(
        r"| ours \| here | **not reproduced** | 480 to 1,000 images; 2 seeds | `make pixel-ablation-cam-table2` |"
    )
    item = {"what": "Sound", "paper": "a tone", "experiment": "sound"}  # of which there is no experiment
    listed = yaml.safe_load((whole / "results/papers.yaml").read_text())
    listed["visual_revelations"]["items"].append(item)
    (whole / "results/papers.yaml").write_text(yaml.safe_dump(listed, sort_keys=False))
    assert "| Sound | a tone | – | **not run** | – | – |" in index(whole)
    (whole / "results/pixel_ablation_cam/table2.md").write_text("# A page that hands nothing over\n")
    assert "| – | – | – | `make pixel-ablation-cam-table2` |" in index(whole)
    (whole / "results/pixel_ablation_cam/table2.md").unlink()
    assert "| – | **not run** | – | `make pixel-ablation-cam-table2` |" in index(whole)


def test_the_summary_counts_verdicts_of_what_the_paper_has(whole: Path) -> None:
    hand_over(whole, "pixel_ablation_cam/table1", "reproduced")
    hand_over(whole, "pixel_ablation_cam/figure2", "not comparable")
    hand_over(whole, "pixel_ablation_cam/benchmark", "reproduced")  # ours
    (row,) = (line for line in summary(whole).splitlines() if "pixel_ablation_cam" in line)
    items = next(paper for paper in papers(whole) if paper.name == "pixel_ablation_cam").items
    rest = sum(not item.ours for item in items) - 2
    assert row.endswith(f"| 1 | {rest} | 1 | – |")
    assert "demo" not in summary(whole)


def test_an_experiment_that_is_not_listed_and_a_paper_that_is_not_cited(whole: Path) -> None:
    path = whole / "results/papers.yaml"
    listed = yaml.safe_load(path.read_text())
    listed["demo"]["items"] = []
    path.write_text(yaml.safe_dump(listed, sort_keys=False))
    with pytest.raises(ValueError, match="does not list demo/shapes"):
        papers(whole)
    listed["deconvolve"]["title"] = "Another"
    path.write_text(yaml.safe_dump(listed, sort_keys=False))
    with pytest.raises(ValueError, match="'Another' is not in CITATION"):
        papers(whole)


@pytest.mark.parametrize("readme", ["", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}\n{BEGIN}\n{END}"])
def test_the_readme_without_its_markers(readme: str) -> None:
    with pytest.raises(ValueError, match=r"README.md must have"):
        with_summary(readme, ROOT)
