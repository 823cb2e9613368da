"""The study's database: SQLite in a file by default, PostgreSQL by address, its schema under migrations."""

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from xcnn.errors import UserError

WAIT = 60  # seconds, for another request or another process that writes
MIGRATIONS = Path(__file__).parent / "migrations"


def connect(address: str) -> Engine:
    """The engine of a database, whose schema is brought up to date first.

    SQLite keeps a write-ahead log, so that readers do not wait for writers and what was committed survives a kill;
    each transaction takes its write lock when it begins, so that none fails half-way for want of it.

    Args:
        address: `sqlite:///FILE` or `postgresql+psycopg://USER@HOST/NAME`.

    Raises:
        UserError: the address is none, or nothing answers there.
    """
    try:
        lite = make_url(address).get_backend_name() == "sqlite"
        if lite:  # one connection, for which requests queue: SQLite's own wait is not fair, and ends in an error
            engine = create_engine(
                address, pool_size=1, max_overflow=0, pool_timeout=WAIT, connect_args={"timeout": WAIT}
            )
        else:  # a pooled connection may have died since
            engine = create_engine(address, pool_pre_ping=True)
    except (ArgumentError, ModuleNotFoundError) as error:
        raise UserError(
            f"{address} is no address of a database ({error}): sqlite:///FILE, or postgresql+psycopg://..."
        ) from error
    if lite:
        event.listen(engine, "connect", _durable)
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
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
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except OperationalError as error:
        raise UserError(f"the database at {engine.url!r} does not answer: {error.orig}") from error


def _durable(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's BEGIN IMMEDIATE, not the driver's late BEGIN
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
