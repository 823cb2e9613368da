"""Where a number comes from: code, lock file, versions, machine, data, weights."""

import functools
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from xcnn.fingerprint import file_hash
from xcnn.report.tables import Record, Row

REPOSITORY = Path(__file__).resolve().parents[3]
CODE = ("src", "experiments", "conf", "pyproject.toml", "requirements.lock")
UNKNOWN = "unknown provenance"  # how `weights_provenance` begins of a file with no description
PACKAGES = ("torch", "torchvision", "pytorch-lightning", "numpy", "scikit-learn", "matplotlib")


@functools.cache
def provenance() -> dict[str, Any]:
    """Of this process, read once: git sha and whether code or configuration differ from it, lock hash, versions.

    `git_sha` and `dirty` are None outside a git checkout; `lock` is None where there is no lock file.
    """
    lock = REPOSITORY / "requirements.lock"
    capability = torch.backends.cpu.get_cpu_capability()  # what a CPU rounds like, and so what it trains
    status = _git("status", "--porcelain", "--", *CODE)
    return {
        "git_sha": _git("rev-parse", "HEAD"),
        "dirty": None if status is None else bool(status),
        "lock": file_hash(lock) if lock.is_file() else None,
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "machine": f"{platform.system()} {platform.machine()} {capability}, {torch.get_num_threads()} threads",
    }


def of_rows(rows: Sequence[Row]) -> dict[str, Any]:
    """Where the rows' numbers come from: distinct values over their records, and which commit measured which row."""
    records = [record for row in rows for record in row.records]
    trainings = {record["training"]["fingerprint"]: record["training"] for record in records if record["training"]}

    def distinct(values: Iterable[Any]) -> list[str]:
        return sorted({str(value) for value in values})

    def commit(record: Record) -> str:
        return (record["git_sha"] or "no git")[:10] + (" with local changes" if record["dirty"] else "")

    commits: dict[str, list[tuple[str, str, str]]] = {}
    for row in rows:
        for record in row.records:
            places = commits.setdefault(commit(record), [])
            if (row.dataset, row.model, row.method) not in places:
                places.append((row.dataset, row.model, row.method))
    return {
        "cells": len(records),
        "minutes": sum(record["wall_s"] for record in records) / 60,
        "trainings": len(trainings),
        "training_minutes": sum(training["wall_s"] for training in trainings.values()) / 60,
        "commits": commits,
        "training_commits": distinct(map(commit, trainings.values())),
        "restated": sum("restated" in record for record in records),
        "versions": distinct(f"{name} {version}" for record in records for name, version in record["versions"].items()),
        "locks": distinct(record["lock"] for record in records),
        "machines": distinct(f"{record['device']} ({record['machine']}), {record['precision']}" for record in records),
        "data": distinct(f"{record['data']['name']} (manifest {record['data']['manifest']})" for record in records),
        "weights": distinct(line for record in records for line in weights(record)),
    }


def described(records: Sequence[Record]) -> list[Record]:
    """The records, those of weights that nobody had described yet with the description of the same weights in another.

    The same weights have one hash, so a description written after some cells were measured holds for these as well.
    """
    known = {
        record["weights"]: origin
        for record in records
        if (origin := record.get("weights_provenance")) and not origin.startswith(UNKNOWN)
    }
    return [
        {**record, "weights_provenance": known[record["weights"]]}
        if (record.get("weights_provenance") or "").startswith(UNKNOWN) and record["weights"] in known
        else record
        for record in records
    ]


def weights(record: Record) -> list[str]:
    """The networks that a record used, a line each: name, hash of the weights and, if recorded, their origin."""
    lines = []
    only = {"hash": record.get("weights"), "provenance": record.get("weights_provenance")}
    used = record.get("networks") or {record["model"]: only}
    for name, one in used.items():
        facts = one if isinstance(one, Mapping) else {"hash": one}
        values = [str(value) for value in facts.values() if value is not None]
        if values:
            lines.append(f"{name}: {', '.join(values)}")
    return lines


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", REPOSITORY, *arguments], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
