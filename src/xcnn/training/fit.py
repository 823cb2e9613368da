"""Train once, resume anywhere, load without unpickling.

A training lives in a folder named by its fingerprint, so that every table and figure that asks for the same network
gets the same one. In it: `last.ckpt` (Lightning's, replaced after each epoch), `network.safetensors` (the final
weights, or those of the epoch that a held-out share of the training images chose), and `training.json`, written last,
whose presence means that the training is finished.
"""

import logging
import pickle
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, Timer, TQDMProgressBar
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins.environments import LightningEnvironment

from xcnn.data.tensors import TensorDataModule
from xcnn.device import device_name
from xcnn.errors import UserError
from xcnn.files import locked, read_json, write_json
from xcnn.fingerprint import file_hash, fingerprint
from xcnn.models.weights import load_weights, save_weights
from xcnn.training.classifier import Classifier


class SeedEachEpoch(Callback):
    """Reseeds torch by (seed, epoch), so that a resumed training draws what an uninterrupted one would have drawn.

    At the first batch, not at the start of the epoch: a loader's iterator draws once when it is made, which is after
    the start of an epoch, but before it where a training begins or resumes.
    """

    def __init__(self, seed: int):
        self.seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx == 0:
            torch.manual_seed(self.seed * 1_000_003 + trainer.current_epoch)


class EpochBar(TQDMProgressBar):
    """A bar per epoch with the loss, without Lightning's run number."""

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics


class EpochLines(Callback):
    """A line per epoch, where there is no terminal to redraw a bar on."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            loss = float(trainer.callback_metrics["train/loss"])
            print(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}: loss {loss:.4f}", flush=True)


def fit(
    module: Classifier,
    data: TensorDataModule,
    folder: str | Path,
    *,
    settings: Mapping[str, Any],
    provenance: Mapping[str, Any],
    max_epochs: int,
    seed: int,
    accelerator: str = "auto",
    devices: int | str = 1,
    strategy: str = "auto",
    precision: str = "32-true",
    loggers: Sequence[Logger] = (),
    progress: bool = True,
    select: str | None = None,
) -> dict[str, Any]:
    """Bring `module.network` to the end of its training: load it, resume it, or train it from the start.

    Args:
        folder: of this training; made if missing. Another process that asks for the same training waits for it.
        settings: the plain values that the result depends on; recorded, and their fingerprint with them.
        provenance: of the code that trains (git, versions); recorded.
        devices: processes or GPUs; with more than one, `strategy` is e.g. "ddp_spawn".
        select: a logged metric of the held-out images (`val/accuracy`): the weights after the epoch in which it was
            highest, the first of several, are the training's; None takes those after the last epoch.

    Returns:
        The content of `training.json`: settings, fingerprint, provenance, epochs, device, precision, wall time in
        seconds over all attempts, parameters of the last epoch's log, and the hash of the weights file.

    Raises:
        Diverged: the loss stopped being finite; the checkpoint of the last whole epoch stays.
        UserError: the folder cannot be written, or a damaged file is in it (named); there is nothing to select by.
    """
    folder = Path(folder)
    if select is not None and not len(data.val):
        raise UserError(f"selecting by {select} needs held-out training images: give the data a val_share above 0.")
    record, weights = folder / "training.json", folder / "network.safetensors"
    with locked(folder / "lock"):
        if not record.is_file():
            started = time.monotonic()
            timer = Timer()
            checkpoint = ModelCheckpoint(
                folder,
                "last",
                save_top_k=1,
                every_n_epochs=1,
                save_on_train_epoch_end=True,
                enable_version_counter=False,
            )
            # Written before `last.ckpt`, which holds what is known of it: a kill between the two repeats the epoch.
            best = ModelCheckpoint(
                folder,
                "best",
                monitor=select,
                mode="max",
                save_weights_only=True,
                save_on_train_epoch_end=True,
                enable_version_counter=False,
            )
            callbacks: list[Callback] = [SeedEachEpoch(seed), *([best] if select else []), checkpoint, timer]
            if progress:
                callbacks.append(EpochBar(refresh_rate=20) if sys.stderr.isatty() else EpochLines())
            _quiet()
            trainer = pl.Trainer(
                accelerator=accelerator,
                devices=devices,
                strategy=strategy,
                precision=precision,  # type: ignore[arg-type]  # a Literal there; checked by Lightning
                max_epochs=max_epochs,
                logger=list(loggers) or False,
                callbacks=callbacks,
                plugins=[LightningEnvironment()],  # a cell is one job: SLURM's variables are not the trainer's business
                enable_progress_bar=progress and sys.stderr.isatty(),
                enable_model_summary=False,
                use_distributed_sampler=False,  # the data module slices its own batches
                num_sanity_val_steps=0,
                default_root_dir=folder,
            )
            last = folder / "last.ckpt"
            resumed = last.is_file()
            if resumed:
                _check_checkpoint(last)
            trainer.fit(module, data, ckpt_path=last if resumed else None, weights_only=True)
            data.trainer = None  # what follows the training has all of the data to itself, whatever the processes were
            selected = None
            if select is not None:
                state = torch.load(folder / "best.ckpt", map_location="cpu", weights_only=True)
                module.load_state_dict(state["state_dict"])
                # The score of the checkpoint: of several processes, this one may not have trained.
                scores = torch.load(last, map_location="cpu", weights_only=True)["callbacks"][best.state_key]
                value = float(scores["best_model_score"])
                selected = {"epoch": state["epoch"] + 1, "by": select, "value": value}
            save_weights(module.network, weights)
            write_json(
                record,
                {
                    "settings": settings,
                    "fingerprint": fingerprint(settings),
                    "provenance": provenance,
                    "epochs": trainer.current_epoch,
                    **({"selected": selected} if selected else {}),
                    "steps": trainer.global_step,
                    "resumed": resumed,
                    "device": device_name(trainer.strategy.root_device),
                    "precision": precision,
                    "processes": trainer.world_size,
                    "wall_s": round(max(timer.time_elapsed("train"), time.monotonic() - started), 1),
                    "log": {name: float(value) for name, value in trainer.callback_metrics.items()},
                    "weights": file_hash(weights),
                },
            )
        load_weights(module.network.cpu(), weights)
        module.network.eval()
        return read_json(record)


def _check_checkpoint(path: Path) -> None:
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(f"{path} is damaged. Delete it and run again: the training starts anew.") from error


def _quiet() -> None:
    """Lightning's advertisements, and its warnings about what is meant: our lock file, short epochs, no `srun`."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for message in (
        "Checkpoint directory",
        ".*number of training batches",
        ".*treespec",
        "Total length of",
        "The `srun`",
    ):
        warnings.filterwarnings("ignore", message=message)
