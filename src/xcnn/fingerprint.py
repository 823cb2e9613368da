"""Fingerprints: what a result depends on, in sixteen hexadecimal digits."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def fingerprint(settings: Mapping[str, Any]) -> str:
    """First 16 hexadecimal digits of SHA-256 over the settings as JSON with sorted keys.

    Args:
        settings: plain values (str, int, float, bool, None, lists and mappings of these) that change a result.
    """
    text = json.dumps(settings, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` as `{"a.b": 1}`; lists stay values."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """One line per setting that differs: `trainer.max_epochs: 50 -> 2`; a missing one shows as `-`."""
    old, new = flatten(before), flatten(after)
    missing = object()

    def show(value: Any) -> str:
        return "-" if value is missing else repr(value)

    return [
        f"{key}: {show(old.get(key, missing))} -> {show(new.get(key, missing))}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key, missing) != new.get(key, missing)
    ]


def file_hash(path: str | Path) -> str:
    """First 16 hexadecimal digits of the SHA-256 of a file's bytes."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]
