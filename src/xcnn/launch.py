"""From a command line to cells: the one module below `experiments/` that knows Hydra.

An experiment's file gives a function that measures one cell and one that sums the cells up; `launch` composes the
configuration, runs the sweeps that it names (in this process, or as SLURM arrays), and publishes what came of them.
"""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import nn

from xcnn.data.tensors import TensorDataModule
from xcnn.errors import Diverged, UserError
from xcnn.files import writable
from xcnn.fingerprint import fingerprint
from xcnn.report.cells import Cell, Measured
from xcnn.report.loggers import curve_loggers
from xcnn.report.provenance import REPOSITORY, provenance
from xcnn.report.publish import Summarise, publish
from xcnn.training.classifier import Classifier
from xcnn.training.fit import fit

CONF = REPOSITORY / "conf"

# Settings that say where and how fast, not what: no part of a fingerprint.
PLACE = ("paths", "logger", "sweeps", "identity", "cell")
PLACE_OF_TRAINER = ("accelerator", "devices", "strategy", "channels_last", "progress")

OmegaConf.register_new_resolver("repository", lambda part: str(REPOSITORY / part), replace=True)


def compose(identity: str, overrides: list[str] | None = None) -> DictConfig:
    """The configuration of an experiment (`deconvolve/ablation`), as its cells see it before a sweep's overrides.

    Raises:
        UserError: there is no such experiment (lists those there are), or an override names what is not there.
    """
    known = experiments()
    if identity not in known:
        raise UserError(f"unknown experiment {identity!r}; there are: {', '.join(known)}.")
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            return hydra.compose("main", [f"experiment={identity}", f"identity={identity}", *(overrides or [])])
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(str(error).strip()) from error


def experiments() -> list[str]:
    """The identities of all experiments, from their configurations."""
    folder = CONF / "experiment"
    return sorted(str(path.relative_to(folder).with_suffix("")) for path in folder.glob("*/*.yaml"))


def settings(cfg: DictConfig) -> dict[str, Any]:
    """What a cell's result depends on, as plain values: all but places, devices, loggers."""
    plain: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    plain = {key: value for key, value in plain.items() if key not in PLACE}
    plain["data"] = {key: value for key, value in plain["data"].items() if key != "root"}
    plain["trainer"] = {key: value for key, value in plain["trainer"].items() if key not in PLACE_OF_TRAINER}
    return plain


@dataclass(frozen=True)
class Trained:
    """A trained network in eval mode on the CPU, the data it was trained on, and the record of its training."""

    network: nn.Module
    data: TensorDataModule
    record: dict[str, Any]


def load_data(cfg: DictConfig) -> TensorDataModule:
    """The configured data set, loaded."""
    data: TensorDataModule = instantiate(cfg.data)
    data.setup()
    return data


def trained(cfg: DictConfig) -> Trained:
    """The network that this configuration trains: loaded if some cell trained it before, else resumed or trained."""
    import torch

    data = load_data(cfg)
    everything = settings(cfg)
    training = {key: everything[key] for key in ("model", "penalty", "layers", "training", "trainer", "seed")}
    training["data"] = {key: value for key, value in everything["data"].items() if key != "test_size"}
    training["manifest"] = data.manifest
    torch.manual_seed(cfg.seed)
    module = Classifier(
        instantiate(cfg.model),
        instantiate(cfg.training.optimizer),
        data_term=cfg.training.data_term,
        penalty=instantiate(cfg.penalty),
        layers=list(cfg.layers),
        channels_last=cfg.trainer.channels_last,
    )
    folder = Path(cfg.paths.runs) / "trainings" / fingerprint(training)
    record = fit(
        module,
        data,
        folder,
        settings=training,
        provenance=provenance(),
        max_epochs=cfg.training.max_epochs,
        seed=cfg.seed,
        accelerator=cfg.trainer.accelerator,
        devices=cfg.trainer.devices,
        strategy=cfg.trainer.strategy,
        precision=cfg.trainer.precision,
        loggers=curve_loggers(cfg.logger.curves, folder, f"{cfg.dataset}-{cfg.network}-{cfg.method}-s{cfg.seed}"),
        progress=cfg.trainer.progress,
    )
    return Trained(module.network, data, record)
