"""Where a number comes from: code, lock file, versions, machine."""

import functools
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from xcnn.fingerprint import file_hash

REPOSITORY = Path(__file__).resolve().parents[3]
CODE = ("src", "experiments", "conf", "pyproject.toml", "requirements.lock")
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


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", REPOSITORY, *arguments], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
