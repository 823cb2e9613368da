"""From the command line to cells and their page: `python -m experiments.<paper>.<name> [sweep=NAME] [overrides]`.

An experiment's file gives a function that measures one cell and one that sums the cells up; `launch` composes the
configuration, runs the sweeps that it names (in this process, or as SLURM arrays), and publishes what came of them.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from xcnn.errors import Missing, OneCell, UserError
from xcnn.files import writable
from xcnn.launch import compose as composing
from xcnn.launch.compose import cell_of, checked, compose, explained_error, refuse_no_choice
from xcnn.launch.subjects import Setup
from xcnn.launch.titles import read_titles
from xcnn.report.cells import Cell, Measured
from xcnn.report.page import Summarise
from xcnn.report.publish import brief, publish
from xcnn.report.shards import Pool

Measure = Callable[[Setup, Cell], Measured]
Afterwards = Callable[[Setup], None]


class _Stop(BaseException):
    """Carries an error that every further cell would meet as well past Hydra, which would go on to the next cell."""

    def __init__(self, error: UserError):
        super().__init__(str(error))
        self.error = error


def launch(
    file: str,
    measure: Measure,
    summarise: Summarise,
    afterwards: Afterwards | None = None,
    pool: Pool | None = None,
) -> None:
    """Run an experiment from the command line: `-m experiments.<paper>.<name> [render] [sweep=NAME] ...`.

    Runs the sweeps that the configuration names under `sweeps` (all, or the one asked for), each cell once, and renders
    the results; `render` alone only renders the committed records. An override replaces a sweep's values for its key;
    `recipe=NAME`, with no sweep asked for, runs the sweeps of that recipe. What the configuration says a sweep may lack
    is passed over, unless that sweep was asked for. Leaves with status 2 and one message for what the user can mend,
    with status 1 if some cells failed.

    Args:
        file: the experiment's `__file__`: its folder and stem are the identity.
        measure: one cell, from its setup.
        summarise: all rows, to the text and the figures of the page.
        afterwards: called with the setup of each cell that is finished, also if it was before: makes sure of
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
        print(f"error: {explained_error(error) if isinstance(error, Exception) else error}", file=sys.stderr)
        sys.exit(2)


def _launch(
    identity: str,
    measure: Measure,
    summarise: Summarise,
    arguments: list[str],
    afterwards: Afterwards | None,
    pool: Pool | None,
) -> None:
    refuse_no_choice(arguments)
    render_only = "render" in arguments
    wanted = [argument.removeprefix("sweep=") for argument in arguments if argument.startswith("sweep=")]
    overrides = [argument for argument in arguments if argument != "render" and not argument.startswith("sweep=")]
    # The rest belongs to the cells: it may be a sweep (`seed=0,1`), or fit one of the sweeps' choices only.
    cfg = compose(identity, [override for override in overrides if override.startswith(("paths.", "order=", "sweeps"))])
    writable(cfg.paths.runs)
    results = writable(cfg.paths.results)
    sweeps = _sweeps(cfg)
    unknown = [name for name in wanted if name not in sweeps]
    if unknown:
        raise UserError(f"{identity} has no sweep {', '.join(unknown)}; there are: {', '.join(sweeps)}.")
    failed: Exception | None = None
    if not render_only:
        given = {override.lstrip("+~").split("=")[0] for override in overrides}
        chosen, lacking = wanted or _of_recipe(identity, sweeps, overrides), []
        for name in chosen:
            swept = [f"{key}={_choices(value)}" for key, value in sweeps[name].items() if key not in given]
            try:
                _sweep(identity, measure, [*swept, *overrides], afterwards)
            except OneCell as error:  # the other cells have run; their results are published
                failed = error
            except _Stop as stop:
                if not (isinstance(stop.error, Missing) and name in cfg.get("optional_sweeps", []) and not wanted):
                    raise
                print(f"sweep {name} is not run: {stop.error}", file=sys.stderr)
                lacking.append(stop)
        if len(lacking) == len(chosen) and not (results / f"{identity}.runs.jsonl").is_file():
            raise lacking[0]
    print(brief(_published(cfg, summarise, pool, to_wandb=not render_only)))
    if failed is not None:
        print(f"error: {failed}", file=sys.stderr)
        sys.exit(1)


def render(identity: str, summarise: Summarise, pool: Pool | None = None) -> Path:
    """The page of an experiment, rendered from its committed records alone."""
    return _published(compose(identity), summarise, pool, to_wandb=False)


def _published(cfg: DictConfig, summarise: Summarise, pool: Pool | None, to_wandb: bool) -> Path:
    runs, results = Path(cfg.paths.runs), Path(cfg.paths.results)
    return publish(
        cfg.identity,
        runs,
        results,
        summarise,
        list(cfg.get("order", [])),
        to_wandb,
        pool,
        read_titles(composing.CONF),
        cfg.protocol,
    )


def _sweeps(cfg: DictConfig) -> dict[str, dict[str, Any]]:
    """The sweeps by name; `${order}` is that list, and a pattern of cells' names is left to each cell's own values."""
    if not cfg.get("sweeps"):
        return {"all": {}}
    found: Any = OmegaConf.to_container(cfg.sweeps)
    for name, values in found.items():
        for key, value in values.items():
            if str(value).startswith("${"):
                values[key] = OmegaConf.to_container(cfg.sweeps[name][key])
    return found


def _choices(value: Any) -> str:
    """A sweep's value as Hydra has it on a command line: the choices of a list are cells each."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


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
            overrides = list(runtime.overrides.task)
            cell = cell_of(checked(cfg, overrides), overrides)
            name, setup = cell.name, Setup(cfg, overrides)
            if cell.finished():
                print(f"{cell.name}: finished, in {cell.folder}")
            else:
                record = cell.run(lambda cell: measure(setup, cell))
                print(f"{cell.name}: measured in {record['wall_s']:.0f} s, in {cell.folder}")
            if afterwards is not None:
                afterwards(setup)
        except OneCell as error:
            print(f"{name}: {error}", file=sys.stderr)
            raise
        except UserError as error:
            if "submitit" in runtime.launcher._target_:
                raise
            raise _Stop(error) from error

    arguments, sys.argv = sys.argv, [sys.argv[0], f"experiment={identity}", f"identity={identity}", *overrides, "-m"]
    try:
        GlobalHydra.instance().clear()
        hydra.main(config_path=str(composing.CONF), config_name="main", version_base="1.3")(job)()
    finally:
        sys.argv = arguments
