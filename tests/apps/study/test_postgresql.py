"""The same study in a real PostgreSQL, started here in a temporary folder."""

import getpass
import importlib.util
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.apps.study.test_load import take_part_at_once
from tests.apps.study.test_store import (
    take_part_through_kills,
    test_designs_that_cannot_be,
    test_many_at_once_lose_and_double_nothing,
)

__all__ = [
    "test_designs_that_cannot_be",
    "test_many_at_once_lose_and_double_nothing",
]

pytestmark = pytest.mark.slow
ACCOUNT = "postgres"  # the server refuses to run as root; Debian's package makes this account


def programs() -> Path | None:
    """The folder of initdb and pg_ctl: the newest of Debian's, or the one on the PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    found = shutil.which("initdb")
    return debian[-1].parent if debian else Path(found).parent if found else None


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = programs()
    if folder is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed: the extra `postgresql`")
    root = os.geteuid() == 0
    if root and shutil.which("runuser") is None:
        pytest.skip("PostgreSQL does not run as root, and there is no runuser")
    user = ["runuser", "-u", ACCOUNT, "--"] if root else []
    place = Path(subprocess.check_output([*user, "mktemp", "-d", "/tmp/xcnn-postgresql-XXXXXX"], text=True).strip())
    data = str(place / "data")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def run(*command: str) -> None:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "cwd": "/"}
        subprocess.run([*user, *command], check=True, **quiet)  # type: ignore[call-overload]

    listening = f"-c listen_addresses=127.0.0.1 -c unix_socket_directories={place} -p {port}"
    try:
        run(str(folder / "initdb"), "-D", data, "--auth=trust", "--no-sync")
        run(str(folder / "pg_ctl"), "-D", data, "-w", "-l", str(place / "log"), "-o", listening, "start")
        name = ACCOUNT if root else getpass.getuser()
        yield f"postgresql+psycopg://{name}@127.0.0.1:{port}/postgres"
    finally:
        if Path(data, "postmaster.pid").is_file():
            run(str(folder / "pg_ctl"), "-D", data, "-m", "immediate", "stop")
        run("rm", "-r", str(place))


@pytest.fixture
def engine(address: str) -> Iterator[Any]:
    """An empty database of its own for each test."""
    from sqlalchemy import create_engine, text

    from xcnn.apps.study.database import connect

    server = create_engine(address, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS study WITH (FORCE)"))
        connection.execute(text("CREATE DATABASE study"))
    server.dispose()
    found = connect(address.rpartition("/")[0] + "/study")
    yield found
    found.dispose()


def test_migrations_make_the_tables(engine: Any) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from xcnn.apps.study.tables import Base

    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_a_killed_server_loses_nothing(engine: Any) -> None:
    take_part_through_kills(engine, engine.url.render_as_string())


def test_fifteen_raters_of_250_images(engine: Any, record_property: Callable[[str, object], None]) -> None:
    votes = take_part_at_once(engine, engine.url.render_as_string())
    record_property("votes a second", votes)
    print(f"PostgreSQL: {votes:.0f} votes a second")
