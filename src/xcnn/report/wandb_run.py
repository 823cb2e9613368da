"""Tables and figures to Weights & Biases: offline unless WANDB_MODE=online asks otherwise; no account is needed."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd

PROJECT = "xcnn"


def mode() -> Literal["online", "offline", "disabled"]:
    """What WANDB_MODE asks for; "offline" when it is unset."""
    asked = os.environ.get("WANDB_MODE", "offline")
    return asked if asked in ("online", "disabled") else "offline"  # type: ignore[return-value]


def log_run(
    identity: str, folder: Path, tables: Mapping[str, pd.DataFrame], figures: Mapping[str, Path], config: dict[str, Any]
) -> None:
    """One W&B run named by the experiment, with each table and each figure (PNG) under its own key.

    An offline run lies in `folder/wandb/offline-run-*`; `wandb sync` sends it later.
    """
    import wandb  # two seconds to import: only where something is logged

    folder.mkdir(parents=True, exist_ok=True)
    run = wandb.init(
        project=PROJECT,
        name=identity,
        group=identity.split("/")[0],
        dir=str(folder),
        mode=mode(),
        config=config,
        settings=wandb.Settings(silent=True, console="off"),
    )
    try:
        payload: dict[str, Any] = {f"tables/{name}": wandb.Table(dataframe=table) for name, table in tables.items()}
        payload |= {f"figures/{name}": wandb.Image(str(path)) for name, path in figures.items()}
        run.log(payload)
    finally:
        run.finish()
