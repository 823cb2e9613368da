"""Train once, resume anywhere, load without unpickling.

A training lives in a folder named by its fingerprint, so that every table and figure that asks for the same network
gets the same one. In it: `last.ckpt` (Lightning's, replaced after each epoch), `best.ckpt` (with a selection: the
weights after the best epoch), `network.safetensors` (the final weights, or those of the best epoch), and
`training.json`, written last, whose presence means that the training is finished. Each is written beside its place and
renamed, so that a kill or a full disk at any moment leaves the last whole epoch to go on from.
"""

import contextlib
import logging
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, Timer, TQDMProgressBar
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from xcnn.data.tensors import TensorDataModule
from xcnn.device import device_name, training_precision
from xcnn.errors import UserError
from xcnn.files import FULL, locked, read_json, remove_leftovers, write_json, writing
from xcnn.fingerprint import file_hash, fingerprint
from xcnn.models.weights import load_weights, save_weights
from xcnn.training.checkpoints import AtomicCheckpointIO, read_checkpoint
from xcnn.training.classifier import Classifier

RECORD = "training.json"  # written last: a folder that has it holds a finished training


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
        module: the network and what is minimised; its network ends in evaluation mode on the CPU.
        data: training images, and held-out ones to select by.
        folder: of this training; made if missing. Another process that asks for the same training waits for it.
        settings: the plain values that the result depends on; recorded, and their fingerprint with them.
        provenance: of the code that trains (git, versions); recorded.
        max_epochs: number of epochs.
        seed: random seed of what each epoch draws.
        accelerator: "cpu", "gpu", or "auto" for a GPU where there is one.
        devices: number of processes or GPUs; with more than one, `strategy` is e.g. "ddp_spawn".
        strategy: Lightning's name of how several devices work together.
        precision: "32-true", "bf16-mixed", or "auto" (`xcnn.device.training_precision`); recorded as resolved.
        loggers: Lightning's, of the training curves.
        progress: whether to show a bar for each epoch, or a line where there is no terminal.
        select: a logged metric of the held-out images (`val/accuracy`): the weights after the epoch in which it was
            highest, the first of several, are the training's; None takes those after the last epoch.

    Returns:
        The content of `training.json`: settings, fingerprint, provenance, epochs, device, precision, wall time in
        seconds over all attempts, values of the last epoch's log, and the hash of the weights file.

    Raises:
        Diverged: the loss stopped being finite; the checkpoint of the last whole epoch stays.
        UserError: a setting with which it cannot be trained (no step is made); the folder cannot be written or the
            disk is full (the checkpoint of the last whole epoch stays); a damaged file is in it (named).
    """
    folder = Path(folder)
    if select is not None and not len(data.val):
        raise UserError(f"selecting by {select} needs held-out training images: give the data a val_share above 0.")
    record, weights, last = (folder / name for name in (RECORD, "network.safetensors", "last.ckpt"))
    with locked(folder / "lock"):
        remove_leftovers(folder)
        if not record.is_file():
            started = time.monotonic()
            precision = training_precision(accelerator, precision)
            module.check(data, max_epochs)
            timer, best = Timer(), _checkpoint(folder, "best", monitor=select, mode="max", save_weights_only=True)
            # `best` before `last`, which holds what is known of it: a kill between the two repeats the epoch.
            callbacks = [SeedEachEpoch(seed), *([best] if select else []), _checkpoint(folder, "last"), timer]
            if progress:
                callbacks.append(EpochBar(refresh_rate=20) if sys.stderr.isatty() else EpochLines())
            _quiet()
            with _devices(accelerator, devices, strategy):
                trainer = pl.Trainer(
                    accelerator=accelerator,
                    devices=devices,
                    strategy=strategy,
                    precision=precision,  # type: ignore[arg-type]  # a Literal there
                    max_epochs=max_epochs,
                    logger=list(loggers) or False,
                    callbacks=callbacks,
                    # A cell is one job: SLURM's variables are not the trainer's business.
                    plugins=[LightningEnvironment(), AtomicCheckpointIO()],
                    enable_progress_bar=progress and sys.stderr.isatty(),
                    enable_model_summary=False,
                    use_distributed_sampler=False,  # the data module slices its own batches
                    num_sanity_val_steps=0,
                    default_root_dir=folder,
                )
            resumed = last.is_file()
            if resumed:
                read_checkpoint(last)
            with writing(folder, FULL):  # Lightning's loggers write to the folder too
                trainer.fit(module, data, ckpt_path=last if resumed else None, weights_only=True)
            data.trainer = None  # what follows the training has all of the data to itself, whatever the processes were
            selected = None
            if select is not None:
                state = read_checkpoint(folder / "best.ckpt")
                module.load_state_dict(state["state_dict"])
                # The score of the checkpoint: of several processes, this one may not have trained.
                value = float(read_checkpoint(last)["callbacks"][best.state_key]["best_model_score"])
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


def _checkpoint(folder: Path, name: str, **options: Any) -> ModelCheckpoint:
    """A callback that writes `<name>.ckpt` after an epoch, in place of the one before."""
    return ModelCheckpoint(
        folder, name, save_top_k=1, save_on_train_epoch_end=True, enable_version_counter=False, **options
    )


@contextlib.contextmanager
def _devices(accelerator: str, devices: int | str, strategy: str) -> Iterator[None]:
    """Turn Lightning's refusal of its devices into one message."""
    try:
        yield
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        raise UserError(
            f"cannot train with trainer.accelerator={accelerator} trainer.devices={devices} "
            f"trainer.strategy={strategy} ({' '.join(str(error).split())}). One process does with trainer.devices=1 "
            "trainer.strategy=auto."
        ) from error


def _quiet() -> None:
    """Lightning's advertisements, and its warnings about what is meant: our lock file, short epochs, no `srun`."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for message in (
        "Checkpoint directory",
        ".*number of training batches",
        ".*treespec",
        "Total length of",
        "The `srun`",
        "Found .* in eval mode",  # a frozen classifier that generators are trained against
    ):
        warnings.filterwarnings("ignore", message=message)
