"""An explorer of one small network, trained for an epoch on a few of `shapes`' images.

What the explorer needs is imported in the fixtures: a module that lacks it is skipped, and a conftest cannot be.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TINY


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from xcnn.apps.explorer.networks import ExplainedNetwork

    runs = tmp_path_factory.mktemp("runs")
    own = [each for each in TINY if not each.startswith("data.n_train")]
    return ExplainedNetwork("tiny", "demo/shapes", *own, "data.n_train=160", f"paths.runs={runs}")


@pytest.fixture
def app(network: Any, tmp_path: Path) -> Any:
    from xcnn.apps.explorer.app import explorer
    from xcnn.apps.explorer.loading import Networks

    return explorer(Networks({"tiny": network}), tmp_path / "uploads")


@pytest.fixture
def client(app: Any) -> Any:
    from fastapi.testclient import TestClient

    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False, follow_redirects=False)
