"""The README's index of experiments, from their docstrings and results.

python -m tools.index check    say whether it is stale
python -m tools.index write    write it anew (`make tables` does)
"""

import ast
import sys
from pathlib import Path

from tools.identity import experiments

ROOT = Path(__file__).resolve().parents[1]
BEGIN = "<!-- experiments: written by `make tables` -->"
END = "<!-- end of experiments -->"
HEADINGS = ("Paper", "Command", "Reports", "Cost", "Deviations")


def opening(path: Path) -> dict[str, str]:
    """What an experiment's docstring opens with: `What`, its first line, and the text under each heading.

    Raises:
        ValueError: a heading is missing, empty or out of order.
    """
    first, *lines = (ast.get_docstring(ast.parse(path.read_text())) or "").splitlines() or [""]
    found: dict[str, str] = {"What": first.rstrip(".").replace("|", r"\|")}
    for line in lines:
        name, colon, text = line.partition(":")
        if colon and name in HEADINGS:
            found[name] = text.strip()
        elif line.strip() and len(found) > 1:
            found[list(found)[-1]] += f" {line.strip()}"
    if tuple(found)[1:] != HEADINGS or not all(found.values()):
        raise ValueError(f"{path}: the docstring has {', '.join(list(found)[1:])}; it needs {', '.join(HEADINGS)}.")
    return found


def index(root: Path) -> str:
    """A Markdown table with a row per experiment."""
    rows = ["| experiment | what | command | result |", "|---|---|---|---|"]
    for identity in experiments(root):
        text = opening(root / "experiments" / f"{identity}.py")
        page = f"results/{identity}.md"
        result = f"[{page.removeprefix('results/')}]({page})" if (root / page).is_file() else "not run yet"
        command = text["Command"].split(" [")[0]
        rows.append(f"| [{identity}](experiments/{identity}.py) | {text['What']} | `{command}` | {result} |")
    return "\n".join(rows)


def with_index(readme: str, root: Path) -> str:
    """The README's text with a fresh index between its two markers.

    Raises:
        ValueError: the markers are not there, once each and in order.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in rest or END in after:
        raise ValueError(f"README.md must have the lines {BEGIN} and {END}, once each: the index stands between them.")
    return f"{before}{BEGIN}\n{index(root)}\n{END}{after}"


def main(arguments: list[str]) -> int:
    if arguments not in (["check"], ["write"]):
        print(__doc__, file=sys.stderr)
        return 2
    readme = ROOT / "README.md"
    try:
        fresh = with_index(readme.read_text(), ROOT)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if arguments == ["write"]:
        readme.write_text(fresh)
    elif readme.read_text() != fresh:
        print("the README's index is stale. Run `make tables` and commit README.md.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
