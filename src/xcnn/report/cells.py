"""Cells: the unit of work that is finished, resumed or refused as a whole.

A cell is one (data set, model, method, seed) of an experiment, with a folder of its own. It may write rows, one per
image, in chunks, and files; `result.json` comes last and atomically, so its presence means that all of it is there.
"""

import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xcnn.errors import UserError
from xcnn.files import atomic, locked, read_json, remove_leftovers, write_json
from xcnn.fingerprint import differences, file_hash, fingerprint
from xcnn.report.provenance import provenance


@dataclass(frozen=True)
class Measured:
    """What a cell found.

    Args:
        values: metric name to number; what is not finite (undefined, or a ratio to nothing) is recorded as null.
        n: how many images the values are over.
        data: `{"name": ..., "manifest": ...}` of the data set.
        weights: hash of the network's weights, where there is a network.
        weights_provenance: origin of the file of weights that the network has or started from, where there is one.
        training: the record of its training, where this repository trained it.
        device, precision: of the measurement.
        details: anything else worth keeping, JSON-able (captions, choices, claims).
        files: names of files in the cell's folder to be published (pictures).
    """

    values: Mapping[str, float]
    n: int
    data: Mapping[str, str]
    weights: str | None = None
    weights_provenance: str | None = None
    training: Mapping[str, Any] | None = None
    device: str = "cpu"
    precision: str = "32-true"
    details: Mapping[str, Any] = field(default_factory=dict)
    files: Sequence[str] = ()


@dataclass(frozen=True)
class Cell:
    """A cell's name and settings, and the folder that is its own.

    Args:
        experiment: `<paper>/<name>`.
        name: `<data set>-<model>-<method>-s<seed>`; letters, digits and `._=+-`.
        folder: of this cell; made when something is written.
        settings: all that the result depends on, plain values.
        labels: how tables name it: `dataset`, `model`, `method`, `seed`.
        overrides: as given on the command line or by the sweep.
    """

    experiment: str
    name: str
    folder: Path
    settings: Mapping[str, Any]
    labels: Mapping[str, Any]
    overrides: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.=+-]+", self.name) or not self.name.strip("."):
            raise UserError(
                f"a cell's name has letters, digits and ._=+- only, and not dots alone; not {self.name!r}: it names a "
                "folder."
            )

    @property
    def result(self) -> Path:
        return self.folder / "result.json"

    def finished(self) -> dict[str, Any] | None:
        """The record, if this cell is finished; None if it is to be measured.

        Raises:
            UserError: it is finished, but with other settings (says which).
        """
        if not self.result.is_file():
            return None
        record: dict[str, Any] = read_json(self.result)
        if record["fingerprint"] != fingerprint(self.settings):
            changed = differences(record["settings"], self.settings)
            raise UserError(
                f"cell {self.name} of {self.experiment} is finished, with other settings:\n  "
                + "\n  ".join(changed)
                + f"\nTo replace it, delete {self.folder}; to keep both, give this one a name of its own: cell=NAME."
            )
        return record

    def run(self, measure: Callable[["Cell"], Measured]) -> dict[str, Any]:
        """Measure this cell unless it is finished, and return its record.

        A second process that runs the same cell waits for the first, then finds it finished.
        """
        with locked(self.folder / ".lock"):
            record = self.finished()
            if record is None:
                remove_leftovers(self.folder)
                provenance()  # cached: the code that measures, whatever is committed meanwhile
                started = time.monotonic()
                measured = measure(self)
                record = self._record(measured, time.monotonic() - started)
                write_json(self.result, record)
                shutil.rmtree(self._chunks, ignore_errors=True)  # joined into rows.parquet, which is complete
        return record

    def _record(self, measured: Measured, wall_s: float) -> dict[str, Any]:
        training = measured.training
        return {
            "experiment": self.experiment,
            "cell": self.name,
            **self.labels,
            "values": {name: _number(value) for name, value in measured.values.items()},
            "n": measured.n,
            "data": dict(measured.data),
            "weights": measured.weights,
            "weights_provenance": measured.weights_provenance,
            "training": training
            and {
                "fingerprint": training["fingerprint"],
                "epochs": training["epochs"],
                "wall_s": training["wall_s"],
                "device": training["device"],
                "precision": training["precision"],
                "git_sha": training["provenance"]["git_sha"],
                "dirty": training["provenance"]["dirty"],
            },
            "device": measured.device,
            "precision": measured.precision,
            "wall_s": round(wall_s, 1),
            "details": dict(measured.details),
            "files": {name: file_hash(self.folder / name) for name in measured.files},
            "overrides": list(self.overrides),
            "fingerprint": fingerprint(self.settings),
            "settings": dict(self.settings),
            **provenance(),
        }

    # Rows, one per image

    @property
    def _chunks(self) -> Path:
        return self.folder / f"rows-{fingerprint(self.settings)}"  # rows of other settings are never picked up

    def rows(self, n: int, chunk: int, measure: Callable[[range], pd.DataFrame]) -> pd.DataFrame:
        """Measure images 0..n-1 in chunks, one row each; chunks that an earlier attempt finished are read, not redone.

        Args:
            n: number of images.
            chunk: images per call of `measure`: what a kill can cost.
            measure: image indices to a frame with one row per index, in order.

        Returns:
            All rows, with a column `image`; also left as `rows.parquet` in the cell's folder.
        """
        parts = [self._chunk(range(start, min(start + chunk, n)), measure) for start in range(0, n, chunk)]
        rows = pd.concat(parts, ignore_index=True)
        with atomic(self.folder / "rows.parquet", "wb") as stream:
            rows.to_parquet(stream, index=False)
        return rows

    def _chunk(self, images: range, measure: Callable[[range], pd.DataFrame]) -> pd.DataFrame:
        path = self._chunks / f"{images.start:07d}-{images.stop:07d}.parquet"
        if not path.is_file():
            part = measure(images)
            if len(part) != len(images):
                raise AssertionError(f"{len(part)} rows for {len(images)} images")
            part.insert(0, "image", np.arange(images.start, images.stop))
            with atomic(path, "wb") as stream:
                part.to_parquet(stream, index=False)
        return pd.read_parquet(path)


def _number(value: float) -> float | None:
    number = float(value)
    return number if np.isfinite(number) else None


def records(folder: Path) -> Iterator[dict[str, Any]]:
    """The records of all finished cells below an experiment's folder, by cell name."""
    for path in sorted(folder.glob("*/result.json")):
        yield read_json(path)
