"""Configurations: composed, checked once, and reduced to the plain settings that a result depends on."""

import copy
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, InstantiationException, MissingConfigException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from xcnn.errors import UserError, nearest_first
from xcnn.fingerprint import file_hash, fingerprint
from xcnn.report.cells import Cell
from xcnn.report.provenance import REPOSITORY

CONF = REPOSITORY / "conf"

# No part of a fingerprint: where things are, what runs, how tables name it and which of it a picture over all cells
# shows (`curves`), and how much is computed at a time.
PLACE = ("paths", "logger", "sweeps", "optional_sweeps", "identity", "cell", "order", "curves", "titles")
AMOUNTS = ("batch", "chunk", "perturbed_batch")
PLACE_OF_TRAINER = ("accelerator", "devices", "strategy", "channels_last", "progress")
PLACE_OF_DESCRIBER = ("base_url", "timeout", "max_retries", "concurrency", "journal")
# What a network, a recipe or a data set offers: a setting only where a configuration reads it, by interpolation
# (`layer: ${cam_layer}` of an attribution method). Variants are stated as what they resolve to.
OFFERED = ("cam_layer", "blocks", "stages", "groups", "occlusion", "variants")
# Settings that name a file, whose content counts.
FILES = {"model": ("weights",), "data": ("files",), "describer": ("prompt", "replies"), "votes": ("file",)}

OmegaConf.register_new_resolver("repository", lambda part: str(REPOSITORY / part), replace=True)


def experiments() -> list[str]:
    """The identities of all experiments, from their configurations."""
    folder = CONF / "experiment"
    return sorted(str(path.relative_to(folder).with_suffix("")) for path in folder.glob("*/*.yaml"))


def compose(identity: str, overrides: Sequence[str] | None = None) -> DictConfig:
    """The configuration of an experiment (`deconvolve/ablation`), as its cells see it before a sweep's overrides.

    Raises:
        UserError: there is no such experiment (lists those there are), or an override names what is not there.
    """
    known = experiments()
    if identity not in known:
        raise UserError(f"unknown experiment {identity!r}; there are: {', '.join(known)}.")
    refuse_no_choice(overrides or [])
    return copy.deepcopy(_composed(CONF, identity, tuple(overrides or ())))


@functools.lru_cache(maxsize=512)  # a fifth of a second each, and a cell with variants asks for each of them twice
def _composed(folder: Path, identity: str, overrides: tuple[str, ...]) -> DictConfig:
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(folder), version_base="1.3"):
            return hydra.compose("main", [f"experiment={identity}", f"identity={identity}", *overrides])
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        raise UserError(explained_error(error)) from error


def refuse_no_choice(overrides: Sequence[str]) -> None:
    """Hydra takes no `null` for a group's choice.

    Raises:
        UserError: `attribution=null` and its like, with the choices there are.
    """
    for override in overrides:
        group, _, choice = override.lstrip("+").partition("=")
        if choice in ("", "null") and (CONF / group).is_dir():
            options = ", ".join(sorted(path.stem for path in (CONF / group).glob("*.yaml")))
            raise UserError(f"{override} names no {group}; there are: {options}.")


def explained_error(error: Exception) -> str:
    """What Hydra or OmegaConf found wrong, without search paths: of an unknown option, the options there are."""
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, name = str(error.missing_cfg_file or "").rpartition("/")
        return f"there is no {group or 'configuration'} {name!r}; there are: {', '.join(sorted(error.options))}."
    unknown = error.__cause__
    if isinstance(unknown, ConfigKeyError | ConfigAttributeError) and isinstance(unknown.parent_node, DictConfig):
        group = str(unknown.full_key).removesuffix(str(unknown.key))
        known = [str(name) for name in unknown.parent_node if not str(name).startswith("_")]
        options = ", ".join(f"{group}{name}" for name in nearest_first(str(unknown.key), known))
        return f"there is no option {unknown.full_key}; there are: {options}."
    return str(error).strip()


def checked(cfg: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """The configuration, if each overridden value is of the kind of the one in whose place it stands.

    Raises:
        UserError: a value of another kind, an amount below 1, or a chunk that does not hold whole batches.
    """
    groups = {path.name for path in CONF.iterdir() if path.is_dir()}
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    own = {each.key_or_group: each for each in parsed if each.key_or_group not in groups}
    if own:
        chosen = [text for text, each in zip(overrides, parsed, strict=True) if each.key_or_group in groups]
        given = [text for text in chosen if not text.startswith(("experiment=", "identity="))]
        base = compose(cfg.identity, given)
        for key in own:
            # What is interpolated, such as a cell's name, may not resolve without the other overrides.
            default, value = (OmegaConf.select(each, key, throw_on_resolution_failure=False) for each in (base, cfg))
            _same_kind(key, default, value)
    amounts = [name for name in (*AMOUNTS, "data.batch_size") if OmegaConf.select(cfg, name) is not None]
    for name in amounts:
        if (amount := OmegaConf.select(cfg, name)) < 1:
            raise UserError(f"{name} must be at least 1, not {amount}.")
    if {"batch", "chunk"} <= set(amounts) and cfg.chunk % cfg.batch:
        raise UserError(
            f"chunk={cfg.chunk} does not hold whole batches of {cfg.batch} images: choose a multiple, such as "
            f"chunk={cfg.batch * max(1, round(cfg.chunk / cfg.batch))}."
        )
    return cfg


def _same_kind(key: str, default: Any, value: Any) -> None:
    kinds: dict[type, tuple[type, ...]] = {bool: (bool,), int: (int,), float: (int, float), str: (str, int, float)}
    kind = type(default)
    if default is None or value is None or kind not in kinds:
        return
    fits = isinstance(value, kinds[kind]) and (kind is bool or not isinstance(value, bool))
    if not fits or value == "":
        names = {bool: "true or false", int: "a whole number", float: "a number", str: "a name"}
        raise UserError(f"{key} must be {names[kind]}, such as {default!r}, not {value!r}.")


def plain(cfg: DictConfig) -> dict[str, Any]:
    """A configuration as plain values, interpolations resolved."""
    found: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    return found


def settings(cfg: DictConfig) -> dict[str, Any]:
    """What a cell's result depends on, as plain values: all but places, devices, loggers and amounts at a time.

    A class or function stands in it by its own name, not by the module that it is imported from; a file of weights, a
    list of images, a prompt, replies, a person's masks or the answers of people by its name and the hash of its content
    (None while it is missing), not by its folder.
    """
    found = {key: value for key, value in plain(cfg).items() if key not in (*PLACE, *AMOUNTS, *OFFERED)}
    for part in ("data", "concepts"):
        if found.get(part):
            found[part] = {key: value for key, value in found[part].items() if key != "root"}
    found["trainer"] = {key: value for key, value in found["trainer"].items() if key not in PLACE_OF_TRAINER}
    if found.get("describer"):
        found["describer"] = {key: value for key, value in found["describer"].items() if key not in PLACE_OF_DESCRIBER}
    for part, keys in FILES.items():
        for key in keys:
            if (found.get(part) or {}).get(key):
                path = Path(found[part][key])
                content = file_hash(path) if path.is_file() else None
                found[part] = {**found[part], key: {"file": path.name, "hash": content}}
    masks = (found.get("penalty") or {}).get("masks")
    if masks and Path(masks).is_dir():  # a person's; else the name of the data set's own
        content = fingerprint({file.name: file_hash(file) for file in sorted(Path(masks).glob("*.png"))})
        found["penalty"] = {**found["penalty"], "masks": {"folder": Path(masks).name, "hash": content}}
    named: dict[str, Any] = _named(found)
    return named


def _named(value: Any) -> Any:
    """Plain values with each `_target_` as `class`, without its module, and without `_partial_`."""
    if isinstance(value, dict):
        return {
            "class" if key == "_target_" else key: each.rpartition(".")[2] if key == "_target_" else _named(each)
            for key, each in value.items()
            if key != "_partial_"
        }
    return [_named(each) for each in value] if isinstance(value, list) else value


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


def varied(cfg: DictConfig, own: Sequence[str], *overrides: str) -> DictConfig:
    """The configuration of a cell with these overrides of its own, and some choices changed."""
    kept = [override for override in own if not override.startswith(("experiment=", "identity="))]
    return compose(cfg.identity, [*kept, *overrides])


def cell_of(cfg: DictConfig, overrides: Sequence[str] = ()) -> Cell:
    """The cell that a configuration describes.

    Its settings hold its own choices and those of other configurations that it uses besides, as it names them under
    `variants`: for each group a list of them, which may hold lists (`attribution: [grad_cam, [random]]`).
    """
    chosen = settings(cfg)
    named: dict[str, list[Any]] = plain(cfg).get("variants") or {}
    for group, lists in named.items():
        names = (name for part in lists for name in ([part] if isinstance(part, str) else part))
        for name in dict.fromkeys(names):
            one = settings(varied(cfg, overrides, f"{group}={name}"))
            chosen.setdefault("variants", {})[f"{group}={name}"] = one.get(group)
    labels = {"dataset": cfg.dataset, "model": cfg.network, "method": cfg.method, "seed": cfg.seed}
    folder = Path(cfg.paths.runs) / cfg.identity / cfg.cell
    return Cell(cfg.identity, cfg.cell, folder, chosen, labels, overrides)
