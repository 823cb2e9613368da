"""From a command line to cells: the one module below `experiments/` that knows Hydra.

An experiment's file gives a function that measures one cell and one that sums the cells up; `launch` composes the
configuration, runs the sweeps that it names (in this process, or as SLURM arrays), and publishes what came of them.
"""

import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor, nn

from xcnn.attribution import Method
from xcnn.data.tensors import TensorDataModule, scale
from xcnn.errors import Diverged, Missing, UserError
from xcnn.files import locked, writable
from xcnn.fingerprint import file_hash, fingerprint
from xcnn.models import fold_batch_norm, recalibrate_batch_norm
from xcnn.models.fine_tuned import statistics_folded
from xcnn.models.protopnet import ProtoPNet
from xcnn.prototypes import Columns, Encoder
from xcnn.report.cells import Cell, Measured
from xcnn.report.explanations import Subject
from xcnn.report.loggers import curve_loggers
from xcnn.report.pooled import Pool
from xcnn.report.prototypes import Prototyped, prepared
from xcnn.report.provenance import REPOSITORY, provenance
from xcnn.report.publish import Summarise, brief, publish
from xcnn.training.classifier import Classifier
from xcnn.training.fit import fit
from xcnn.training.protopnet import ProtoPNetTraining

CONF = REPOSITORY / "conf"
RESTATED = 512  # training images whose statistics stand in for those that a file of weights has not

# No part of a fingerprint: settings that say where and how fast, not what; and those that stand in another's place, a
# group's classes in the figure's and variants as `cell_of` resolves them.
PLACE = ("paths", "logger", "sweeps", "may_lack", "identity", "cell", "order", "groups", "variants")
PLACE_OF_TRAINER = ("accelerator", "devices", "strategy", "channels_last", "progress")

# What a model names for those who explain it: a setting only where they do.
READERS = {"cam_layer": {"attribution"}, "blocks": {"prototypes", "protopnet"}, "stages": {"protopnet"}}

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
    """What a cell's result depends on, as plain values: all but places, devices, loggers.

    A file of weights, or a list of images, stands in it by its name and the hash of its content (None while it is
    missing), not by its folder.
    """
    plain: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    plain = {key: value for key, value in plain.items() if key not in PLACE}
    for key, readers in READERS.items():
        if not readers & plain.keys():
            plain.pop(key, None)
    plain["data"] = {key: value for key, value in plain["data"].items() if key != "root"}
    plain["trainer"] = {key: value for key, value in plain["trainer"].items() if key not in PLACE_OF_TRAINER}
    for part, key in (("model", "weights"), ("data", "files")):
        if plain[part].get(key):
            path = Path(plain[part][key])
            content = file_hash(path) if path.is_file() else None
            plain[part] = {**plain[part], key: {"file": path.name, "hash": content}}
    return plain


def build(node: DictConfig | None, **arguments: Any) -> Any:
    """The object that a part of the configuration describes; None for None.

    Raises:
        UserError: as the object's own class or function raised it, without Hydra's words around it; of what cannot be
            made for another reason, the first cause.
    """
    try:
        return instantiate(node, **arguments)
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        first = error.__cause__
        while first is not None and first.__cause__ is not None:
            first = first.__cause__
        raise UserError(
            f"the configuration names what cannot be made: {first or error}. A module of your own must be importable: "
            "PYTHONPATH=<its folder>. XCNN_TRACEBACK=1 shows all."
        ) from error


@dataclass(frozen=True)
class Trained:
    """A trained network in eval mode on the CPU, the data it was trained on, its training's record and folder."""

    network: nn.Module
    data: TensorDataModule
    record: dict[str, Any]
    folder: Path


def load_data(cfg: DictConfig) -> TensorDataModule:
    """The configured data set, loaded."""
    data: TensorDataModule = build(cfg.data)
    data.setup()
    return data


def trained(cfg: DictConfig) -> Trained:
    """The network that this configuration trains: loaded if some cell trained it before, else resumed or trained."""
    data = load_data(cfg)
    torch.manual_seed(cfg.seed)
    module = Classifier(
        _ready(cfg, data),
        build(cfg.training.optimizer),
        data_term=cfg.training.data_term,
        penalty=build(cfg.penalty),
        layers=list(cfg.layers),
        schedule=build(cfg.training.get("schedule")),
        sizes={int(epoch): side for epoch, side in (cfg.training.get("sizes") or {}).items()},
        **_handling(cfg),
    )
    keys = ("model", "penalty", "layers", "training")
    return _fit(cfg, module, data, keys, cfg.training.max_epochs, cfg.training.get("select"))


def protopnet(cfg: DictConfig) -> Trained:
    """The ProtoPNet that this configuration trains on its model, likewise loaded, resumed or trained."""
    data = load_data(cfg)
    torch.manual_seed(cfg.seed)
    network = ProtoPNet(
        _ready(cfg, data), cfg.blocks[-1], cfg.n_classes, cfg.protopnet.per_class, cfg.protopnet.channels
    )
    module: ProtoPNetTraining = build(cfg.protopnet.training)(network, **_handling(cfg))
    return _fit(cfg, module, data, ("model", "protopnet", "blocks"), module.max_epochs, augment=True)


def _ready(cfg: DictConfig, data: TensorDataModule) -> nn.Module:
    """The configured network, ready to be trained on: BatchNorm has statistics, also if its weights' file has none."""
    network: nn.Module = build(cfg.model)
    if cfg.model.get("weights") and statistics_folded(network):
        sample, normalise = scale(data.train.images[:RESTATED]), _normalise(cfg)
        recalibrate_batch_norm(network, sample if normalise is None else normalise(sample))
    return network


def _handling(cfg: DictConfig) -> dict[str, Any]:
    """What any training here does with its images."""
    return {
        "channels_last": cfg.trainer.channels_last,
        "normalise": _normalise(cfg),
        "augment": build(cfg.training.get("augment")),
    }


def _normalise(cfg: DictConfig) -> Callable[[Tensor], Tensor] | None:
    """Images in [0, 1] to the network's input; None where it takes them as they are."""
    preprocessing = build(cfg.get("preprocessing"))
    return None if preprocessing is None else preprocessing.normalise


def _placed(cfg: DictConfig, network: nn.Module) -> tuple[nn.Module, torch.device]:
    """The network on the configured device, in its memory format, and the device."""
    device = torch.device("cuda" if cfg.trainer.accelerator == "gpu" else "cpu")
    network = network.to(device)
    return network.to(memory_format=torch.channels_last) if cfg.trainer.channels_last else network, device


def _fit(
    cfg: DictConfig,
    module: Classifier,
    data: TensorDataModule,
    keys: Sequence[str],
    max_epochs: int,
    select: str | None = None,
    augment: bool = False,
) -> Trained:
    """Bring a module to the end of its training, in a folder named after `keys` of the settings and what all share.

    Args:
        augment: of the settings under `training`, only the augmentation is this training's.
    """
    everything = settings(cfg)
    training = {key: everything[key] for key in (*keys, "trainer", "seed")}
    training["data"] = {key: value for key, value in everything["data"].items() if key != "test_size"}
    training["manifest"] = data.manifest
    if augment:
        training["augment"] = everything["training"].get("augment")
    preprocessing = build(cfg.get("preprocessing"))
    if preprocessing is not None:  # its resizing and cropping are for evaluation
        training["preprocessing"] = {"mean": preprocessing.mean, "std": preprocessing.std}
    folder = Path(cfg.paths.runs) / "trainings" / fingerprint(training)
    record = fit(
        module,
        data,
        folder,
        settings=training,
        provenance=provenance(),
        max_epochs=max_epochs,
        seed=cfg.seed,
        accelerator=cfg.trainer.accelerator,
        devices=cfg.trainer.devices,
        strategy=cfg.trainer.strategy,
        precision=cfg.trainer.precision,
        loggers=curve_loggers(cfg.logger.curves, folder, f"{cfg.dataset}-{cfg.network}-{cfg.method}-s{cfg.seed}"),
        progress=cfg.trainer.progress,
        select=select,
    )
    return Trained(module.network, data, record, folder)


def prototyped(cfg: DictConfig) -> Prototyped:
    """The configured prototypes of the configured network: loaded if some cell fitted them before, else fitted.

    With `protopnet` in the configuration, they are those that a ProtoPNet learnt.
    """
    run = protopnet(cfg) if "protopnet" in cfg else trained(cfg)
    network, device = _placed(cfg, run.network)
    prepare = partial(prepared, normalise=_normalise(cfg))
    subject = Prototyped(network, None, run.data, run.record, prepare, device, cfg.trainer.precision)
    if "protopnet" in cfg:
        return subject
    if not 1 <= cfg.depth <= len(cfg.blocks):
        raise UserError(f"depth must be in 1..{len(cfg.blocks)}, the number of the network's blocks, not {cfg.depth}.")
    encoder = Encoder(network, list(cfg.blocks)[-cfg.depth :], subject.prepare, cfg.batch)
    method = build(cfg.prototypes)(encoder)
    if isinstance(method, Columns):
        return replace(subject, method=method)
    everything = settings(cfg)
    made = {key: everything[key] for key in ("prototypes", "depth", "blocks", "batch")}
    share = None if cfg.get("fit_share") == 1 else cfg.get("fit_share")
    made |= {"fit_share": share, "training": run.record["fingerprint"]}
    if code := _foreign_code(method):
        made["code"] = code
    made |= {"seed": cfg.seed, "precision": cfg.trainer.precision, "weights": run.record["weights"]}
    path = Path(cfg.paths.runs) / "prototypes" / f"{fingerprint(made)}.safetensors"
    with locked(path.with_suffix(".lock")):
        if not path.is_file():
            fitted_on = subject.share(share, cfg.seed)
            with subject.autocast():
                method.fit(run.data.train.images[fitted_on], run.data.train.labels[fitted_on])
            method.save(path)
        return replace(subject, method=method.load(path))


def _foreign_code(instance: object) -> str | None:
    """A hash of the file of an object's class, if that is not of this package, whose versions are known."""
    kind = type(instance)
    if kind.__module__.split(".")[0] == "xcnn":
        return None
    return file_hash(Path(inspect.getfile(kind)))


def explained(cfg: DictConfig) -> Subject:
    """The configured network with its weights (BatchNorm folded), and the pictures of the configured data set.

    With `training=...` the network is the one that this configuration trains.

    Raises:
        Missing: there are no such weights at hand.
    """
    run = trained(cfg) if cfg.get("training") else None
    data = load_data(cfg) if run is None else run.data
    network, device = _placed(cfg, fold_batch_norm(build(cfg.model) if run is None else run.network))
    if len(data.classes) != cfg.n_classes:
        raise UserError(f"{data.name} has {len(data.classes)} classes, and the network {cfg.n_classes}.")
    return Subject(
        network.eval(),
        _normalise(cfg) or nn.Identity(),
        data.pictures,
        data.name,
        data.manifest,
        data.classes,
        (settings(cfg)["model"]["weights"] or {}).get("hash") if run is None else run.record["weights"],
        device,
        cfg.trainer.precision,
        cfg.batch,
    )


def attribution(cfg: DictConfig, network: nn.Module) -> Method:
    """The configured attribution method; one that takes a layer is given that of the network's configuration."""
    kind = build(cfg.attribution)
    layer = {"layer": cfg.cam_layer} if "layer" in inspect.signature(kind).parameters else {}
    method: Method = kind(network, **layer)
    return method


def variant(cfg: DictConfig, cell: Cell, *overrides: str) -> DictConfig:
    """The configuration of this cell with some choices changed (`penalty=none`): the "before" of a before and after."""
    return _varied(cfg, cell.overrides, *overrides)


def _varied(cfg: DictConfig, own: Sequence[str], *overrides: str) -> DictConfig:
    kept = [override for override in own if not override.startswith(("experiment=", "identity="))]
    return compose(cfg.identity, [*kept, *overrides])


Measure = Callable[[DictConfig, Cell], Measured]
Afterwards = Callable[[DictConfig], None]


class _Stop(BaseException):
    """Carries an error that every further cell would meet as well past Hydra, which would go on to the next cell."""

    def __init__(self, error: UserError):
        super().__init__(str(error))
        self.error = error


def cell_of(cfg: DictConfig, overrides: Sequence[str] = ()) -> Cell:
    """The cell that a configuration describes.

    Its settings hold its own choices and those of other configurations that it uses besides, as it names them under
    `variants`: for each group a list of them, which may hold lists (`attribution: [grad_cam, [random]]`).
    """
    chosen = settings(cfg)
    named: dict[str, list[Any]] = OmegaConf.to_container(cfg.get("variants") or OmegaConf.create(), resolve=True)  # type: ignore[assignment]
    for group, lists in named.items():
        names = (name for part in lists for name in ([part] if isinstance(part, str) else part))
        for name in dict.fromkeys(names):
            one = settings(_varied(cfg, overrides, f"{group}={name}"))
            chosen.setdefault("variants", {})[f"{group}={name}"] = one.get(group)
    labels = {"dataset": cfg.dataset, "model": cfg.network, "method": cfg.method, "seed": cfg.seed}
    folder = Path(cfg.paths.runs) / cfg.identity / cfg.cell
    return Cell(cfg.identity, cfg.cell, folder, chosen, labels, overrides)


def launch(
    file: str,
    measure: Measure,
    summarise: Summarise,
    afterwards: Afterwards | None = None,
    pool: Pool | None = None,
) -> None:
    """Run an experiment from the command line: `<paper>/<name>.py [render] [sweep=NAME] [overrides]`.

    Runs the sweeps that the configuration names under `sweeps` (all, or the one asked for), each cell once, and renders
    the results; `render` alone only renders the committed records. An override replaces a sweep's values for its key;
    `recipe=NAME`, with no sweep asked for, runs the sweeps of that recipe. What the configuration says a sweep may lack
    is passed over, unless that sweep was asked for. Leaves with status 2 and one message for what the user can mend,
    with status 1 if some cells failed.

    Args:
        file: the experiment's `__file__`: its folder and stem are the identity.
        measure: one cell, from its configuration.
        summarise: all rows, to the text and the figures of the page.
        afterwards: called with the configuration of each cell that is finished, also if it was before: makes sure of
            what stands elsewhere than in the cell's folder.
        pool: how the rows of several cells are put together.
    """
    path = Path(file).resolve()
    identity = f"{path.parent.name}/{path.stem}"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then hands its errors to us instead of printing them its own way
    try:
        _launch(identity, measure, summarise, sys.argv[1:], afterwards, pool)
    except (UserError, _Stop, HydraException, OmegaConfBaseException) as error:
        if os.environ.get("XCNN_TRACEBACK"):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _launch(
    identity: str,
    measure: Measure,
    summarise: Summarise,
    arguments: list[str],
    afterwards: Afterwards | None,
    pool: Pool | None,
) -> None:
    render = "render" in arguments
    wanted = [argument.removeprefix("sweep=") for argument in arguments if argument.startswith("sweep=")]
    overrides = [argument for argument in arguments if argument != "render" and not argument.startswith("sweep=")]
    # The rest belongs to the cells: it may be a sweep (`seed=0,1`), or fit one of the sweeps' choices only.
    cfg = compose(identity, [override for override in overrides if override.startswith(("paths.", "order=", "sweeps"))])
    runs, results = writable(cfg.paths.runs), writable(cfg.paths.results)
    sweeps: Any = OmegaConf.to_container(cfg.sweeps) if cfg.get("sweeps") else {"all": {}}
    unknown = [name for name in wanted if name not in sweeps]
    if unknown:
        raise UserError(f"{identity} has no sweep {', '.join(unknown)}; there are: {', '.join(sweeps)}.")
    failed: Exception | None = None
    if not render:
        given = {override.lstrip("+~").split("=")[0] for override in overrides}
        chosen, lacking = wanted or _of_recipe(identity, sweeps, overrides), []
        for name in chosen:
            swept = [f"{key}={value}" for key, value in sweeps[name].items() if key not in given]
            try:
                _sweep(identity, measure, [*swept, *overrides], afterwards)
            except Diverged as error:  # the other cells have run; their results are published
                failed = error
            except _Stop as stop:
                if not (isinstance(stop.error, Missing) and name in cfg.get("may_lack", []) and not wanted):
                    raise
                print(f"sweep {name} is not run: {stop.error}", file=sys.stderr)
                lacking.append(stop)
        if len(lacking) == len(chosen) and not (results / f"{identity}.runs.jsonl").is_file():
            raise lacking[0]
    page = publish(identity, runs, results, summarise, list(cfg.get("order", [])), not render, pool)
    print(brief(page))
    if failed is not None:
        print(f"error: {failed}", file=sys.stderr)
        sys.exit(1)


def _of_recipe(identity: str, sweeps: Mapping[str, Mapping[str, Any]], overrides: Sequence[str]) -> list[str]:
    """The sweeps of the recipe that is asked for; all if none is."""
    asked = [override.removeprefix("recipe=") for override in overrides if override.startswith("recipe=")]
    if not asked:
        return list(sweeps)
    found = [name for name, values in sweeps.items() if values.get("recipe") == asked[-1]]
    if not found:
        raise UserError(
            f"{identity} has no sweep of recipe {asked[-1]}. Say with sweep=NAME whose choices it is to run; there "
            f"are: {', '.join(sweeps)}."
        )
    return found


def _sweep(identity: str, measure: Measure, overrides: list[str], afterwards: Afterwards | None = None) -> None:
    """One Hydra sweep: every combination is a cell; the launcher decides where it runs."""

    def job(cfg: DictConfig) -> None:
        runtime = HydraConfig.get()
        name = ""
        try:
            cell = cell_of(cfg, list(runtime.overrides.task))
            name = cell.name
            if cell.finished():
                print(f"{cell.name}: finished, in {cell.folder}")
            else:
                record = cell.run(lambda cell: measure(cfg, cell))
                print(f"{cell.name}: measured in {record['wall_s']:.0f} s, in {cell.folder}")
            if afterwards is not None:
                afterwards(cfg)
        except Diverged as error:
            print(f"{name}: {error}", file=sys.stderr)
            raise
        except UserError as error:
            if "submitit" in runtime.launcher._target_:
                raise
            raise _Stop(error) from error

    arguments, sys.argv = sys.argv, [sys.argv[0], f"experiment={identity}", f"identity={identity}", *overrides, "-m"]
    try:
        GlobalHydra.instance().clear()
        hydra.main(config_path=str(CONF), config_name="main", version_base="1.3")(job)()
    finally:
        sys.argv = arguments
