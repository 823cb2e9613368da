"""From a command line to cells: the one room below `experiments/` that knows Hydra."""

from xcnn.launch.compose import compose, experiments
from xcnn.launch.run import launch
from xcnn.launch.setup import Setup

__all__ = ["Setup", "compose", "experiments", "launch"]
