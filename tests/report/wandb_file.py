"""Reads an offline W&B run back from its `.wandb` file, as `wandb sync` would.

The file is a LevelDB log: a 7-byte header, then blocks of 32 KiB of chunks (checksum 4, length 2, type 1, payload), a
chunk being a whole protobuf record (type 1) or its first, middle or last part (2, 3, 4).
"""

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

BLOCK, HEADER = 32 * 1024, 7


def records(path: Path) -> Iterator[Any]:
    """The protobuf records of a run's file, in order."""
    content = path.read_bytes()
    assert content.startswith(b":W&B"), path
    place, parts = HEADER, b""
    while place + HEADER <= len(content):
        if BLOCK - place % BLOCK < HEADER:  # too little of the block is left for a chunk: padding
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        place += HEADER
        parts += content[place : place + length]
        place += length
        if kind in (1, 4):
            yield wandb_internal_pb2.Record.FromString(parts)
            parts = b""


def logged(run: Path) -> dict[str, Any]:
    """Everything that a run logged, by key: the last value of each, decoded from JSON.

    W&B's own process writes the file, and on a busy machine it may lag behind the run's end.
    """
    (path,) = run.glob("run-*.wandb")
    found: dict[str, Any] = {}
    deadline = time.monotonic() + 20
    while not found and time.monotonic() < deadline:
        for record in records(path):
            if record.WhichOneof("record_type") == "history":
                for item in record.history.item:
                    found[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
        if not found:
            time.sleep(0.2)
    return found
