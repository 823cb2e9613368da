"""Replies of a language model, kept by what was asked: a question that was answered is never asked again."""

import fcntl
import hashlib
import json
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xcnn.errors import UserError
from xcnn.files import writing

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Question:
    """What a language model is asked.

    Attributes:
        model: its name.
        parameters: all else that the reply depends on (temperature, seed, the schema of the reply).
        text: the prompt.
        pictures: (H, W, 3) each.
    """

    model: str
    parameters: Mapping[str, Any]
    text: str
    pictures: Sequence[Picture]

    @property
    def key(self) -> str:
        """SHA-256 of the model, the parameters and the messages; of a picture its pixels count, not how it is coded."""
        pictures = [[*picture.shape, hashlib.sha256(picture.tobytes()).hexdigest()] for picture in self.pictures]
        asked = {"model": self.model, "parameters": dict(self.parameters), "text": self.text, "pictures": pictures}
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Reply:
    """What it answered, and how many tokens that took; None where the server does not say."""

    text: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Replies:
    """A file of replies, a line of JSON each, that several processes may add to and a kill leaves whole but for a line.

    Args:
        path: of the file; it need not be there yet.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._known: dict[str, Reply] = {}
        self._read = 0  # bytes of the file
        self._lock = threading.Lock()

    def get(self, key: str) -> Reply | None:
        """The reply to a question, also if another process has just added it."""
        with self._lock:
            if key not in self._known:
                self._read_on()
            return self._known.get(key)

    def add(self, key: str, reply: Reply) -> None:
        """Keep a reply; it is on the disk when this returns.

        Raises:
            UserError: the file cannot be written.
        """
        line = json.dumps({"key": key, **asdict(reply)}, sort_keys=True).encode() + b"\n"
        with self._lock, writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX)
                if stream.seek(0, os.SEEK_END) and not self._ends_whole(stream):
                    line = b"\n" + line  # a process was killed in the middle of its line
                stream.write(line)
                stream.flush()
                os.fsync(stream.fileno())
            self._known[key] = reply

    @staticmethod
    def _ends_whole(stream: Any) -> bool:
        stream.seek(-1, os.SEEK_END)
        return bool(stream.read(1) == b"\n")

    def _read_on(self) -> None:
        if not self.path.is_file():
            return
        with self.path.open("rb") as stream:
            stream.seek(self._read)
            for line in stream:
                if not line.endswith(b"\n"):
                    break  # another process is in the middle of it
                self._read += len(line)
                try:
                    found = json.loads(line)
                    key = found.pop("key")
                    self._known[key] = Reply(**found)
                except (json.JSONDecodeError, KeyError, TypeError, AttributeError):
                    if line.startswith(b"{") and line.endswith(b"}\n"):
                        raise UserError(f"{self.path} has a line that is no reply: {line[:80]!r}. Remove it.") from None
