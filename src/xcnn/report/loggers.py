"""The loggers of training curves, by name."""

from collections.abc import Sequence
from pathlib import Path

from pytorch_lightning.loggers import CSVLogger, Logger

from xcnn.errors import UserError
from xcnn.report.wandb_run import PROJECT, mode


def curve_loggers(names: Sequence[str], folder: Path, run: str) -> list[Logger]:
    """Lightning loggers that write below `folder`: "csv" (`curves-<attempt>/metrics.csv`) and "wandb".

    Raises:
        UserError: an unknown name.
    """
    made: list[Logger] = []
    for name in names:
        if name == "csv":
            before = len(list(folder.glob("curves*")))  # a resumed training must not overwrite its earlier curves
            made.append(CSVLogger(folder, name=None, version=f"curves-{before + 1}"))
        elif name == "wandb":
            from pytorch_lightning.loggers import WandbLogger  # slow to import, and not needed without it

            made.append(WandbLogger(project=PROJECT, name=run, save_dir=folder, offline=mode() == "offline"))
        else:
            raise UserError(f"unknown logger {name!r}; there are: csv, wandb.")
    return made
