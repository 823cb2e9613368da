"""The study's command line: `python -m xcnn.apps.study serve | create | export`; `make study` serves.

serve     ask raters; a database without a study first gets one on the embedded data
create    a study of one's own: `create NAME --kind maps --overrides recipe=imagenet_resnet50`
export    the answers, as `experiments.pixel_ablation_cam.human_study votes.file=FILE` reads them
"""

import argparse
import logging
import sys
from pathlib import Path

import pandas as pd

from xcnn.apps.server import serve, server_arguments
from xcnn.apps.study import store, wording
from xcnn.apps.study.app import study_app
from xcnn.apps.study.database import connect, default_address
from xcnn.apps.study.votes import export
from xcnn.errors import UserError

EMBEDDED = ("recipe=shapes",)


def main(arguments: list[str]) -> None:
    options = parser().parse_args(arguments)
    engine = connect(options.database or default_address())
    if options.command == "create":
        print(create(engine, options))
    elif options.command == "export":
        table = pd.concat([export(engine, name) for name in options.name])
        table.to_csv(options.output, index=False)
        print(f"{table.shape[0]} rows in {options.output}", file=sys.stderr)
    else:
        if all(study.kind == "pairs" for study in store.studies(engine)):
            print("no study yet: making one on the embedded data ...")
            print(create(engine, parser().parse_args(["create", "maps", "--images", "30", "--overrides", *EMBEDDED])))
        for study in store.studies(engine):
            page = f"http://{options.host}:{options.port}/study/{study.name}"
            where = "votes of the explorer" if study.kind == "pairs" else page
            print(
                f"{where}\n  progress and export, for you alone: {page}/admin/{store.signed(study, 'admin')}",
                flush=True,
            )
        logging.basicConfig(level=logging.INFO)
        serve(lambda hosts, password: study_app(engine, hosts, password), options.host, options.port, options.name)


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="python -m xcnn.apps.study", description="The human study.")
    found.add_argument("--database", help="sqlite:///FILE or postgresql+psycopg://...; study.db in XCNN_RUNS")
    commands = found.add_subparsers(dest="command", required=True)
    server_arguments(commands.add_parser("serve", help="ask raters"), port=8001)
    made = commands.add_parser("create", help="make a study and freeze its design")
    made.add_argument("name", help="in the study's address")
    made.add_argument("--kind", choices=("maps", "models"), default="maps")
    made.add_argument("--images", type=int, default=250)
    made.add_argument("--per-rater", type=int, help="images for each rater; all")
    made.add_argument("--practice", type=int, default=3)
    made.add_argument("--checks", type=int, default=5, help="attention checks")
    made.add_argument("--checks-failed", type=int, default=1, help="how many of them a counted rater may fail")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument(
        "--overrides", nargs="+", default=[], metavar="NAME=VALUE", help="of the figure's configuration: recipe=NAME"
    )
    written = commands.add_parser("export", help="write the answers as CSV")
    written.add_argument("name", nargs="+", help="of a study; `explorer` has the votes that were given there")
    written.add_argument("--output", type=Path, default=Path("/dev/stdout"))
    return found


def create(engine: store.Engine, options: argparse.Namespace) -> str:
    """Draw a study's pictures and make it; a line for the terminal, with the hash of the design."""
    from xcnn.apps.study.drawing import draw  # the networks' libraries take seconds, and serving needs none

    choices, items = draw(
        options.kind, options.images, options.practice, options.checks, options.overrides, options.seed
    )
    design = store.Design(
        options.name,
        options.kind,
        choices,
        options.per_rater or options.images,
        options.seed,
        options.checks_failed,
        wording.CONSENT_VERSION,
        wording.CONSENT,
        wording.INSTRUCTIONS[options.kind],
        wording.QUESTION[options.kind],
    )
    return f"study {options.name}: {len(items)} images, design {store.create(engine, design, items)}"


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
