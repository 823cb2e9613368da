"""From a command line to cells: the one room below `experiments/` that knows Hydra."""

from xcnn.launch.run import launch
from xcnn.launch.subjects import Setup

__all__ = ["Setup", "launch"]
