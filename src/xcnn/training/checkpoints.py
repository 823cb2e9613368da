"""Checkpoints that a kill or a full disk cannot damage."""

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from xcnn.errors import UserError
from xcnn.files import atomic

KEY = "pytorch-lightning_version"  # in every checkpoint of Lightning


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its destination, syncs it and renames it; until then the one before stays.

    Lightning's own writes to the system's temporary folder and, where that is another file system than the
    destination, copies: a kill or a full disk during the copy leaves neither the old checkpoint nor the new one.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write `checkpoint` to `path`.

        Raises:
            UserError: the disk is full, or the folder cannot be written.
        """
        if storage_options is not None:
            raise TypeError("a checkpoint is a local file: it takes no storage_options.")
        content = io.BytesIO()  # torch's zip writer turns a full disk into a RuntimeError; a plain stream does not
        torch.save(checkpoint, content)
        with atomic(path, "wb") as stream:
            stream.write(content.getbuffer())


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU; no code in it is run.

    Raises:
        UserError: the file is damaged, or is no checkpoint.
    """
    remedy = f"Delete {path.parent} and run the same command again: the training starts anew."
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, ValueError, LookupError) as error:
        raise UserError(f"{path} is damaged or no checkpoint. {remedy}") from error
    if not isinstance(content, Mapping) or KEY not in content:
        raise UserError(f"{path} is damaged or no checkpoint. {remedy}")
    return dict(content)
