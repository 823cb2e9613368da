"""The study's database: SQLite in a file by default, PostgreSQL by address, its schema under migrations."""

import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.exc import TimeoutError as WaitedTooLong
from sqlalchemy.orm import Session

from xcnn.errors import UserError
from xcnn.files import writable

WAIT = 60  # seconds, for other requests or another process that writes
KEPT: dict[str, Any] = {
    "pool_size": 20,
    "max_overflow": 20,
    "pool_timeout": WAIT,
}  # connections, for the server's forty threads
MIGRATIONS = Path(__file__).parent / "migrations"


def default_address() -> str:
    """The SQLite file in XCNN_RUNS, which the study and the explorer share."""
    return f"sqlite:///{writable(os.environ.get('XCNN_RUNS', 'runs'))}/study.db"


def connect(address: str) -> Engine:
    """The engine of a database, whose schema is brought up to date first.

    SQLite keeps a write-ahead log, so that readers do not wait for writers and what was committed survives a kill.

    Args:
        address: `sqlite:///FILE` or `postgresql+psycopg://USER@HOST/NAME`.

    Raises:
        UserError: the address is none, or nothing answers there.
    """
    try:
        lite = make_url(address).get_backend_name() == "sqlite"
        if lite:
            engine = create_engine(
                address,
                **KEPT,
                connect_args={"timeout": WAIT},
                execution_options={"writers": Queue()},
            )
        else:  # a pooled connection may have died since
            engine = create_engine(address, **KEPT, pool_pre_ping=True)
    except (ArgumentError, ModuleNotFoundError) as error:
        raise UserError(
            f"{address} is no address of a database ({error}): sqlite:///FILE, or postgresql+psycopg://..."
        ) from error
    if lite:
        event.listen(engine, "connect", _durable)
        event.listen(engine, "begin", _begin)
    migrate(engine)
    return engine


def migrate(engine: Engine) -> None:
    """Bring the schema up to the newest version.

    Raises:
        UserError: the database does not answer.
    """
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    try:
        with writing(engine) as session:
            config.attributes["connection"] = session.connection()
            command.upgrade(config, "head")
    except OperationalError as error:
        raise UserError(f"the database at {engine.url!r} does not answer: {error.orig}") from error


@contextmanager
def writing(engine: Engine) -> Iterator[Session]:
    """A session that may write, in one transaction: committed at the end, rolled back on an error.

    SQLite has one writer at a time, and lets those who wait try again at random until some give up. Here the writers
    of a process come in the order in which they asked, and each takes the write lock when its transaction begins, so
    that none fails half-way for want of it. PostgreSQL sees to its writers itself.

    Raises:
        sqlalchemy.exc.TimeoutError, OperationalError: others wrote for longer than `WAIT`; nothing was changed.
    """
    writers: Queue | None = engine.get_execution_options().get("writers")
    own_turn = nullcontext() if writers is None else writers.turn(WAIT)
    with own_turn, Session(engine.execution_options(immediate=True)) as session, session.begin():
        yield session


class Queue:
    """A lock that is had in the order in which it was asked for, which `threading.Lock` does not promise."""

    def __init__(self) -> None:
        self._guard, self._taken, self._waiting = threading.Lock(), False, deque[threading.Event]()

    @contextmanager
    def turn(self, seconds: float) -> Iterator[None]:
        """Hold the lock.

        Raises:
            sqlalchemy.exc.TimeoutError: it was not had within these seconds.
        """
        called = threading.Event()
        with self._guard:
            if self._taken:
                self._waiting.append(called)
            else:
                self._taken = True
                called.set()
        if not called.wait(seconds):
            with self._guard:
                if not called.is_set():  # else it was handed over just now
                    self._waiting.remove(called)
                    raise WaitedTooLong(f"others have been writing for {seconds} s")
        try:
            yield
        finally:
            with self._guard:
                if self._waiting:
                    self._waiting.popleft().set()
                else:
                    self._taken = False


def _begin(connection: Connection) -> None:
    """A transaction that may write takes the write lock at once: SQLite cannot always grant it to a reader."""
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _durable(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # the BEGIN above, not the driver's own
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
