"""The environment files that follow from pyproject.toml: `requirements.lock` (pins with hashes) and `environment.yml`.

    python -m tools.environment check    say what is stale, if anything; no network
    python -m tools.environment write    write environment.yml

`make lock` makes both anew.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = ("apps", "cluster", "dev")  # those that are locked

PIN = re.compile(r"(?P<pin>[A-Za-z0-9][\w.-]*==[^\s;]+(?: ; [^\\]+?)?) \\$")
HASH = re.compile(r" {4}--hash=sha256:[0-9a-f]{64}(?: \\)?$")
COMMENT = re.compile(r" {4}# +(?:via(?: (?P<one>.+))?|(?P<several>.+))$")
PLACE = re.compile(r"://|(?:^|\s|@)(?:/|\.\.?/|~/|[A-Za-z]:\\)")  # a host or a path


def pins(lock: str) -> list[str]:
    """The pins of a lock file with their markers; a package can have several, for different platforms."""
    return [match["pin"] for line in lock.splitlines() if (match := PIN.match(line))]


def requirements(project: str) -> list[Requirement]:
    """What pyproject.toml asks for: to build the project, to run it, and its locked extras."""
    table = tomllib.loads(project)
    extras = table["project"].get("optional-dependencies", {})
    texts = [*table["build-system"]["requires"], *table["project"]["dependencies"]]
    return [Requirement(text) for text in [*texts, *(text for extra in EXTRAS for text in extras.get(extra, []))]]


def conda_environment(project: str, lock: str) -> str:
    """The text of environment.yml: Python from conda, everything else as pinned, from where pip finds it."""
    table = tomllib.loads(project)["project"]
    pinned = "\n".join(f"      - {pin}" for pin in pins(lock))
    return f"""\
# Generated from pyproject.toml and requirements.lock by tools/environment.py: change those, then `make lock`.
#   conda env create -f environment.yml && conda activate {table["name"]} && make PYTHON=python test
name: {table["name"]}
channels:
  - conda-forge
dependencies:
  - python {table["requires-python"]}
  - pip
  - pip:
{pinned}
      - -e .
"""


def stale(root: Path) -> list[str]:
    """What does not follow from pyproject.toml, a line each; empty if all is well."""
    project = (root / "pyproject.toml").read_text()
    lock_file, environment_file = root / "requirements.lock", root / "environment.yml"
    if not lock_file.is_file():
        return ["requirements.lock is missing"]
    lock = lock_file.read_text()
    found = [f"requirements.lock, {problem}" for problem in (*_form(lock), *_unmet(project, lock))]
    if not environment_file.is_file():
        found.append("environment.yml is missing")
    elif environment_file.read_text() != conda_environment(project, lock):
        found.append("environment.yml is not what pyproject.toml and requirements.lock give")
    return found


def _form(lock: str) -> Iterator[str]:
    """Lines that are no pin, hash or comment, and lines that name a host, an index or a path."""
    lines = lock.splitlines()
    for number, line in enumerate(lines, start=1):
        if not (PIN.match(line) or HASH.match(line) or COMMENT.match(line)):
            yield f"line {number} is no pin, hash or reason: {line.strip()}"
        elif PLACE.search(line):
            yield f"line {number} names a host or a path: {line.strip()}"


def _unmet(project: str, lock: str) -> Iterator[str]:
    """Requirements without a pin that satisfies them, and pins that pyproject.toml no longer asks for."""
    pinned: dict[str, list[str]] = {}
    for pin in map(Requirement, pins(lock)):
        (specifier,) = pin.specifier
        pinned.setdefault(canonicalize_name(pin.name), []).append(specifier.version)
    asked = requirements(project)
    for requirement in asked:
        versions = pinned.get(canonicalize_name(requirement.name), [])
        wrong = [version for version in versions if not requirement.specifier.contains(version, prereleases=True)]
        if not versions:
            yield f"has no {requirement.name}: pyproject.toml asks for {requirement}"
        elif wrong:
            yield f"has {requirement.name} {', '.join(wrong)}: pyproject.toml asks for {requirement}"
    names = {canonicalize_name(requirement.name) for requirement in asked}
    yield from (f"has {name}, which pyproject.toml no longer asks for" for name in _direct(project, lock) - names)


def _direct(project: str, lock: str) -> set[str]:
    """The packages that the lock says it holds for the project itself."""
    reason, name, direct = f"{tomllib.loads(project)['project']['name']} (pyproject.toml)", "", set()
    for line in lock.splitlines():
        if pin := PIN.match(line):
            name = canonicalize_name(Requirement(pin["pin"]).name)
        elif (comment := COMMENT.match(line)) and reason in (comment["one"], comment["several"]):
            direct.add(name)
    return direct


def main(arguments: list[str]) -> int:
    if arguments == ["write"]:
        project, lock = (ROOT / "pyproject.toml").read_text(), (ROOT / "requirements.lock").read_text()
        (ROOT / "environment.yml").write_text(conda_environment(project, lock))
        print("wrote environment.yml")
        return 0
    if arguments != ["check"]:
        print(__doc__, file=sys.stderr)
        return 2
    found = stale(ROOT)
    if found:
        print("\n".join([*found, "Run `make lock` and commit requirements.lock and environment.yml."]), file=sys.stderr)
        return 1
    print("requirements.lock and environment.yml follow from pyproject.toml")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
