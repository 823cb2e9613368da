"""Start the explorer: `python -m xcnn.apps.explorer`, or `make explorer`.

Without arguments it shows the demo's networks on `shapes`. It serves at once; a network that has not been trained yet
is trained meanwhile, and its pages say so until it is there.
"""

import argparse
import logging
import os
import sys
from pathlib import Path

from xcnn.apps.explorer.app import explorer
from xcnn.apps.explorer.loading import Networks, Wanted
from xcnn.apps.server import serve, server_arguments
from xcnn.apps.study.database import connect, default_address
from xcnn.errors import UserError

DEMO = ["floored=demo/shapes penalty=floored", "plain=demo/shapes", "literal=demo/shapes penalty=literal"]


def main(arguments: list[str] | None = None) -> None:
    """Serve, and load the networks; leaves with status 2 and one message for what the user can mend."""
    parser = argparse.ArgumentParser(prog="python -m xcnn.apps.explorer", description=__doc__)
    server_arguments(parser, port=8014)
    parser.add_argument(
        "--network",
        action="append",
        metavar='"NAME=EXPERIMENT [OVERRIDES]"',
        help='a network to choose, such as "stl10=white_box/figure9 recipe=stl10"; may be repeated (the demo\'s three)',
    )
    parser.add_argument("--database", help="of votes on maps, the human study's: sqlite:///FILE; study.db in XCNN_RUNS")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        networks = Networks({}, [Wanted.parse(text) for text in options.network or DEMO])
        uploads = Path(networks.wanted[0].setup().options.paths.runs) / "explorer" / "uploads"
        votes = connect(options.database or default_address())
        networks.start()
        serve(
            lambda hosts, password: explorer(networks, uploads, hosts, password, votes),
            options.host,
            options.port,
            options.name,
        )
    except UserError as error:
        if os.environ.get("XCNN_TRACEBACK"):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
