"""From a command line to cells: the one room below `experiments/` that knows Hydra."""

from xcnn.launch.run import (
    CONF,
    PLACE,
    Trained,
    attribution,
    build,
    cell_of,
    compose,
    experiments,
    explained,
    launch,
    load_data,
    prototyped,
    settings,
    trained,
    variant,
)

__all__ = [
    "CONF",
    "PLACE",
    "Trained",
    "attribution",
    "build",
    "cell_of",
    "compose",
    "experiments",
    "explained",
    "launch",
    "load_data",
    "prototyped",
    "settings",
    "trained",
    "variant",
]
