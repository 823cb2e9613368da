"""A database in a file, and a browser's stand-in."""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

if not all(importlib.util.find_spec(name) for name in ("fastapi", "sqlalchemy", "alembic", "httpx")):
    collect_ignore_glob = ["test_*.py"]  # the extra `apps` is not installed


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Any]:
    from xcnn.apps.study.database import connect

    found = connect(f"sqlite:///{tmp_path / 'study.db'}")
    yield found
    found.dispose()


@pytest.fixture
def browser(engine: Any) -> Callable[[], Any]:
    """Makes browsers without cookies, of the same server."""
    from fastapi.testclient import TestClient

    from xcnn.apps.study.app import study_app

    app = study_app(engine)
    return lambda: TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
