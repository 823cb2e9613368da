"""An explorer of one small network, trained for an epoch on a few of `shapes`' images."""

from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the explorer needs fastapi")
pytest.importorskip("httpx", reason="fastapi's test client needs httpx")
pytest.importorskip("python_multipart", reason="uploads need python-multipart")

from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.conftest import TINY
from xcnn.apps.explorer.app import explorer
from xcnn.apps.explorer.networks import ExplainedNetwork


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> ExplainedNetwork:
    runs = tmp_path_factory.mktemp("runs")
    own = [each for each in TINY if not each.startswith("data.n_train")]
    return ExplainedNetwork("tiny", "demo/shapes", *own, "data.n_train=160", f"paths.runs={runs}")


@pytest.fixture
def app(network: ExplainedNetwork, tmp_path: Path) -> FastAPI:
    return explorer({"tiny": network}, tmp_path / "uploads")


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False, follow_redirects=False)
