"""The four places where an experiment `<paper>/<name>` stands, and which of them are missing."""

import re
from collections.abc import Iterator
from pathlib import Path

PAPERS = ("deconvolve", "visual_revelations", "self_explanation", "white_box", "pixel_ablation_cam", "demo")
RESULTS = (".md", ".runs.jsonl")

RULE = re.compile(r"^([a-z0-9][a-z0-9-]*):(?!=)([^#=\n]*)", re.MULTILINE)


def targets(root: Path) -> dict[str, list[str]]:
    """The explicit targets of the Makefile, with what each depends on."""
    return {name: needs.split() for name, needs in RULE.findall((root / "Makefile").read_text())}


def target(identity: str) -> str:
    """`pixel_ablation_cam/table1` as `pixel-ablation-cam-table1`."""
    return identity.replace("/", "-").replace("_", "-")


def experiments(root: Path) -> list[str]:
    """The identities that have an experiment file."""
    return sorted(_stems(root / "experiments", "*.py"))


def missing(root: Path) -> list[str]:
    """A line for each place in which an experiment that stands in some other place is missing."""
    made = targets(root)
    folders = [
        _stems(root / "experiments", "*.py"),
        _stems(root / "conf" / "experiment", "*.yaml"),
        *(_stems(root / "results", f"*{suffix}") for suffix in RESULTS),
    ]
    known = set().union(*folders)
    papers = {*PAPERS, *(identity.split("/")[0] for identity in known)}
    for name in made:
        known.update(
            f"{paper}/{name.removeprefix(target(paper) + '-').replace('-', '_')}"
            for paper in papers
            if name.startswith(target(paper) + "-")
        )
    return [f"{identity}: no {place}" for identity in sorted(known) for place in _absent(root, identity, made)]


def _absent(root: Path, identity: str, made: dict[str, list[str]]) -> Iterator[str]:
    files = [f"experiments/{identity}.py", f"conf/experiment/{identity}.yaml"]
    files += [f"results/{identity}{suffix}" for suffix in RESULTS]
    yield from (file for file in files if not (root / file).is_file())
    if target(identity) not in made:
        yield f"target {target(identity)} in the Makefile"


def _stems(folder: Path, pattern: str) -> set[str]:
    """`<paper>/<name>` of the files that match; those that start with an underscore are no experiments."""
    files = (path for path in folder.glob(f"*/{pattern}") if not path.name.startswith("_"))
    return {f"{path.parent.name}/{path.name.split('.')[0]}" for path in files}
