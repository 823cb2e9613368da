"""Render every page that has committed records, in one process: `python -m tools.tables`."""

import importlib
import sys

from tools.environment import ROOT
from tools.identity import experiments
from xcnn.errors import UserError
from xcnn.launch.run import render


def main() -> int:
    for identity in experiments(ROOT):
        if not (ROOT / "results" / f"{identity}.runs.jsonl").is_file():
            continue
        module = importlib.import_module(f"experiments.{identity.replace('/', '.')}")
        try:
            page = render(identity, module.summarise, getattr(module, "pool", None))
        except UserError as error:
            print(f"error: {identity}: {error}", file=sys.stderr)
            return 2
        print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
