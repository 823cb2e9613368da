"""Writing files so that a reader never sees half of one, and reading them with errors that name the file."""

import contextlib
import errno
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from xcnn.errors import UserError

_MENDABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR, errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turns what the system says against writing `path` into a message with the remedy in it."""
    try:
        yield
    except OSError as error:
        if error.errno not in _MENDABLE:
            raise
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = "Free some space and run the same command again: finished cells are kept."
        else:
            remedy = "Make the folder writable, or name another with paths.runs=DIR and paths.results=DIR."
        raise UserError(f"cannot write {path}: {error.strerror}. {remedy}") from error


@contextlib.contextmanager
def atomic(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path` that replaces it when the block ends without an error.

    After a crash, a full disk or `kill -9` the old content of `path` (or its absence) is intact.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
    """
    path = Path(path)
    encoding = None if "b" in mode else "utf-8"
    temporary: str | None = None
    try:
        with _writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
            with os.fdopen(descriptor, mode, encoding=encoding) as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            umask = os.umask(0)
            os.umask(umask)
            Path(temporary).chmod(0o666 & ~umask)  # mkstemp's 0600 would hide results from a group on a cluster
            Path(temporary).replace(path)
            temporary = None
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()


def writable(folder: str | Path) -> Path:
    """`folder` as a Path, made if missing; refuses one that cannot be written before any work is done.

    Raises:
        UserError: the folder cannot be made or written.
    """
    folder = Path(folder)
    with atomic(folder / ".writable") as stream:
        stream.write("")
    (folder / ".writable").unlink(missing_ok=True)
    return folder


def write_json(path: str | Path, value: Any) -> None:
    """Atomically write `value` as JSON with sorted keys. NaN and infinity are refused: they are not JSON."""
    text = json.dumps(value, indent=1, sort_keys=True, allow_nan=False)
    with atomic(path) as stream:
        stream.write(text + "\n")


def read_json(path: str | Path) -> Any:
    """The value in a JSON file; an unreadable one is named.

    Raises:
        UserError: the file is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is not JSON ({error}). Delete it and run the same command again.") from error


@contextlib.contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Hold an exclusive lock on `path`; other processes that ask for it wait. Released by the kernel on any exit."""
    path = Path(path)
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a", encoding="utf-8")
    with stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
