"""Networks that are not there yet: served at once, trained in the background, shown when they are there."""

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the explorer needs fastapi")
pytest.importorskip("httpx", reason="fastapi's test client needs httpx")
pytest.importorskip("python_multipart", reason="uploads need python-multipart")

from fastapi.testclient import TestClient

from tests.conftest import TINY
from xcnn.apps.explorer import loading
from xcnn.apps.explorer.app import explorer
from xcnn.apps.explorer.loading import Networks, Wanted
from xcnn.errors import Missing, UserError


def client_of(networks: Networks, folder: Path) -> TestClient:
    return TestClient(
        explorer(networks, folder), base_url="http://127.0.0.1", raise_server_exceptions=False, follow_redirects=False
    )


class Setup:
    """Stands for a configuration."""

    def __init__(self, is_trained: bool):
        self.is_trained = is_trained


def test_served_before_it_is_trained(network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of a network that is being trained says so, looks again by itself, and is the explanation in the end."""
    trained, order = threading.Event(), list[str]()
    wanted = [Wanted("new", "demo/shapes"), Wanted("old", "demo/shapes")]
    monkeypatch.setattr(Wanted, "setup", lambda self: Setup(self.name == "old"))
    monkeypatch.setattr(loading, "_in_another_process", lambda each: order.append(each.name) or trained.wait(60))
    monkeypatch.setattr(loading, "ExplainedNetwork", lambda name, *_: order.append(name) or network)
    networks = Networks({}, wanted)
    client = client_of(networks, tmp_path)
    before = client.get("/?network=old")
    assert before.status_code == 503 and "waits for its turn" in before.text
    networks.start()
    _until(lambda: "old" in networks.there and "trained" in networks.states["new"])
    assert order == ["old", "new"]  # what is trained comes first
    assert client.get("/?n=2").headers["location"] == "/?network=old&n=2"
    page = client.get("/?network=new")
    assert page.status_code == 503 and 'http-equiv="refresh"' in page.text and page.headers["retry-after"]
    assert "is being trained, for 0 s now" in page.text and 'href="/?network=old"' in page.text
    found = client.get("/explore.json?network=new")
    assert found.status_code == 503 and "is being trained" in found.json()["networks"]["new"]
    upload = client.post("/upload", files={"file": ("a.png", b"")}, data={"state": "network=new"})
    assert upload.status_code == 503 and "refresh" not in upload.text
    assert "is being trained" in client.get("/?network=old").text  # among the networks to choose from
    trained.set()
    _until(lambda: networks.there == ("new", "old"))
    assert client.get("/").status_code == client.get("/?network=new").status_code == 200
    assert networks.states == {}


def test_a_network_that_cannot_be_had_leaves_the_others(
    network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(name: str, *_: str) -> Any:
        if name == "broken":
            raise RuntimeError("a secret")
        if name == "missing":
            raise Missing("no <b>weights</b>: make them.")
        return network

    monkeypatch.setattr(Wanted, "setup", lambda self: Setup(True))
    monkeypatch.setattr(loading, "ExplainedNetwork", made)
    networks = Networks({}, [Wanted(name, "demo/shapes") for name in ("missing", "broken", "whole")])
    networks.load()
    client = client_of(networks, tmp_path)
    assert client.get("/?network=whole").status_code == 200
    missing, broken = client.get("/?network=missing"), client.get("/?network=broken")
    assert missing.status_code == broken.status_code == 422
    assert "no &lt;b&gt;weights" in missing.text and "secret" not in broken.text
    with pytest.raises(UserError, match="there are: missing, broken, whole"):
        networks["other"]


@pytest.mark.parametrize("text", ["name", "=demo/shapes", "a=demo/none", "a=demo/shapes penalty=nothing"])
def test_what_cannot_be_wanted_is_said_before_serving(text: str) -> None:
    with pytest.raises(UserError):
        Wanted.parse(text)


@pytest.mark.slow
def test_training_in_another_process(tmp_path: Path) -> None:
    own = [each for each in TINY if not each.startswith("data.n_train")]
    wanted = Wanted("tiny", "demo/shapes", (*own, "data.n_train=160", f"paths.runs={tmp_path}"))
    assert not wanted.setup().is_trained
    networks = Networks({}, [wanted])
    networks.load()
    assert wanted.setup().is_trained and networks.there == ("tiny",) and networks["tiny"].subject.weights


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the processes are read from /proc")
def test_a_training_ends_with_the_server_that_was_killed(tmp_path: Path) -> None:
    """A server that is killed leaves no training behind; the next one begins where the last epoch ended."""
    own = [each for each in TINY if not each.startswith("training.")]
    network = " ".join(["tiny=demo/shapes", *own, "training.max_epochs=100000", f"paths.runs={tmp_path}"])
    command = [sys.executable, "-m", "xcnn.apps.explorer", "--port", "0", "--network", network]
    database = ["--database", f"sqlite:///{tmp_path / 'study.db'}"]
    server = subprocess.Popen([*command, *database], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _until(lambda: list(tmp_path.glob("trainings/*/last.ckpt")), 6000)
        tasks = Path(f"/proc/{server.pid}/task").glob("*/children")
        children = [child for task in tasks for child in task.read_text().split()]
        assert children
    finally:
        server.kill()
        server.wait()
    _until(lambda: not any(map(_runs, children)), 1200)


def _runs(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _until(happened: Any, most: int = 600) -> None:
    for _ in range(most):
        if happened():
            return
        time.sleep(0.05)
    raise AssertionError("it never happened")
