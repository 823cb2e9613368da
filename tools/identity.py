"""The places where an experiment `<paper>/<name>` stands, and which of them are missing.

It is a file in `experiments/<paper>/` with a page template of its own, or with a configuration; what a paper's
experiments share lies beside them and has neither.
"""

import re
from collections.abc import Iterator
from pathlib import Path

PAPERS = ("deconvolve", "visual_revelations", "self_explanation", "white_box", "pixel_ablation_cam", "demo")
PAGE = ".md.jinja"
RESULTS = (".md", ".runs.jsonl")

RULE = re.compile(r"^([a-z0-9][a-z0-9-]*):(?!=)([^#=\n]*)", re.MULTILINE)


def targets(root: Path) -> dict[str, list[str]]:
    """The targets that the Makefile writes out, with what each depends on; the experiments' follow from their files."""
    return {name: needs.split() for name, needs in RULE.findall((root / "Makefile").read_text())}


def target(identity: str) -> str:
    """`pixel_ablation_cam/table1` as `pixel-ablation-cam-table1`."""
    return identity.replace("/", "-").replace("_", "-")


def experiments(root: Path) -> list[str]:
    """The identities that have an experiment file."""
    kept = _stems(root / "experiments", f"*{PAGE}") | _stems(root / "conf" / "experiment", "*.yaml")
    return sorted(_stems(root / "experiments", "*.py") & kept)


def missing(root: Path) -> list[str]:
    """A line for each place in which an experiment that stands in some other place is missing."""
    folders = [
        set(experiments(root)),
        _stems(root / "experiments", f"*{PAGE}"),
        _stems(root / "conf" / "experiment", "*.yaml"),
        *(_stems(root / "results", f"*{suffix}") for suffix in RESULTS),
    ]
    known = set().union(*folders)
    papers = {*PAPERS, *(identity.split("/")[0] for identity in known)}
    for name in targets(root):
        known.update(
            f"{paper}/{name.removeprefix(target(paper) + '-').replace('-', '_')}"
            for paper in papers
            if name.startswith(target(paper) + "-")
        )
    return [f"{identity}: no {place}" for identity in sorted(known) for place in _absent(root, identity)]


def _absent(root: Path, identity: str) -> Iterator[str]:
    files = [f"experiments/{identity}.py", f"experiments/{identity}{PAGE}", f"conf/experiment/{identity}.yaml"]
    files += [f"results/{identity}{suffix}" for suffix in RESULTS]
    yield from (file for file in files if not (root / file).is_file())
    if not re.fullmatch(r"[a-z_]+/[a-z_][a-z0-9_]*", identity):
        yield "name that Python can import"


def _stems(folder: Path, pattern: str) -> set[str]:
    """`<paper>/<name>` of the files that match."""
    return {f"{path.parent.name}/{path.name.split('.')[0]}" for path in folder.glob(f"*/{pattern}")}
