"""Writing files so that a reader never sees half of one, and reading them with errors that name the file."""

import contextlib
import errno
import fcntl
import glob
import json
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from xcnn.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT)  # the disk, or the user's share of it
REFUSED = (*FULL, errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR)


@contextlib.contextmanager
def writing(path: str | Path, refused: tuple[int, ...] = REFUSED) -> Iterator[None]:
    """Turn the system's refusal to write `path` into one message with the remedy.

    Args:
        refused: error numbers that are a refusal; other errors pass as they are.

    Raises:
        UserError: the block raised an OSError with one of these numbers.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in refused:
            raise
        if error.errno in FULL:
            remedy = "Free some space and run the same command again: finished cells and finished epochs are kept."
        else:
            remedy = "Make the folder writable, or name another with paths.runs=DIR and paths.results=DIR."
        raise UserError(f"cannot write {path}: {error.strerror}. {remedy}") from error


@contextlib.contextmanager
def atomic(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path` that replaces it when the block ends without an error.

    After a crash, a full disk or `kill -9` the old content of `path` (or its absence) is intact. The temporary file of
    a killed process stays until `path` is next written, or until `remove_leftovers`.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers(path.parent, path.name)
            temporary, descriptor = _temporary(path)
            with os.fdopen(descriptor, mode, encoding=None if "b" in mode else "utf-8") as stream:
                yield stream
                stream.flush()
                os.fsync(descriptor)
                umask = os.umask(0)
                os.umask(umask)
                os.fchmod(descriptor, 0o666 & ~umask)  # mkstemp's 0600 would hide results from a group on a cluster
                temporary.replace(path)  # still locked, so that no other process takes it for a leftover
                temporary = None
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


def _temporary(path: Path) -> tuple[Path, int]:
    """A new file beside `path` and its descriptor, which holds a lock for as long as its process lives."""
    while True:
        descriptor, name = tempfile.mkstemp(f".{socket.gethostname()}.tmp", f".{path.name}.", path.parent)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return Path(name), descriptor
        os.close(descriptor)  # another process took it for a leftover before it was locked


def remove_leftovers(folder: str | Path, name: str | None = None) -> None:
    """Remove the temporary files that killed processes of this host left behind.

    A temporary file is locked while its process lives, and the kernel releases the lock at any death. Files of other
    hosts stay: not every network file system shares locks.

    Args:
        folder: where to look; a missing one holds nothing.
        name: of the file that they were to become, in `folder` itself; None looks for all, in subfolders too.
    """
    beside = "**/.*" if name is None else f".{glob.escape(name)}"
    for leftover in Path(folder).glob(f"{beside}.????????.{glob.escape(socket.gethostname())}.tmp"):
        with contextlib.suppress(OSError), leftover.open("r+b") as stream:  # gone by now, another user's, or locked
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink()


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
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a", encoding="utf-8")
    with stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
