"""The client against a server that others wrote: `transformers serve`, with a vision-language model made here."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from xcnn.errors import UserError
from xcnn.figures import evidence_pictures
from xcnn.language import Claim, FilterEvidence, OpenAIDescriber, describe_all, verify

pytestmark = pytest.mark.slow
pytest.importorskip("openai")
pytest.importorskip("transformers", reason="transformers is not installed: pip install 'xcnn[serving]'")

UP_WITHIN = 600  # seconds
SERVE = "from transformers.cli.transformers import main; main()"
MEANT = {"red": (1.0, 0.0, 0.0), "green": (0.0, 160 / 255, 0.0), "blue": (0.0, 0.0, 1.0)}


def plain(colour: str) -> FilterEvidence:
    """A filter that is active everywhere on a picture of one colour, so that both renderings are that picture."""
    image = torch.tensor(MEANT[colour])[:, None, None].expand(3, 16, 16)
    return FilterEvidence("relu", 0, image, torch.ones(4, 4), "a", "a", 0.1, ("a",), torch.tensor([0.5]))


class Server:
    """`transformers serve` on a free port of this machine."""

    def __init__(self, model: Path, log: Path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.model, self.root = str(model), f"http://127.0.0.1:{port}"
        command = [sys.executable, "-c", SERVE, "serve", self.model]
        command += ["--device", "cpu", "--dtype", "float32", "--host", "127.0.0.1", "--port", str(port)]
        self.log = log.open("wb")
        offline = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, env=os.environ | offline)

    def wait(self) -> None:
        deadline = time.monotonic() + UP_WITHIN
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.root}/health", timeout=5):
                    return
            except OSError:
                time.sleep(0.5)
        self.kill()
        raise AssertionError(f"the server did not come up: {Path(self.log.name).read_text()[-2000:]}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    from tests.language.tiny_llava import ENOUGH, make

    folder = tmp_path_factory.mktemp("served")
    asked = OpenAIDescriber("any", evidence_pictures, "http://127.0.0.1:1/v1", folder / "r").question(plain("red"))
    assert make(folder / "model", asked.text, len(asked.pictures)) < ENOUGH
    found = Server(folder / "model", folder / "log")
    try:
        found.wait()
        yield found
    finally:
        if found.process.poll() is None:
            found.kill()


@pytest.fixture
def client(server: Server, tmp_path: Path) -> Callable[..., OpenAIDescriber]:
    def make(**changes: Any) -> OpenAIDescriber:
        values = {
            "model": server.model,
            "timeout": 120,
            "max_retries": 1,
            "max_tokens": 12,
            "concurrency": 1,
            **changes,
        }
        model = values.pop("model")
        return OpenAIDescriber(model, evidence_pictures, f"{server.root}/v1", tmp_path / "replies.jsonl", **values)

    return make


def test_pictures_go_in_and_words_come_out(client: Callable[..., OpenAIDescriber]) -> None:
    describer = client()
    for colour in MEANT:
        found = describer.describe(plain(colour))
        assert found.text == colour and found.claims == (Claim("colour", colour),)
        assert [verdict.outcome for verdict in verify(found, plain(colour))] == ["supported"]
    assert describer.counts["asked"] == 3 and describer.counts["prompt_tokens"] > 3 * 2 * 16  # pictures of 16 cells
    again = client()
    assert again.describe(plain("blue")).text == "blue" and again.counts["asked"] == 0


def test_a_model_that_the_server_has_not(client: Callable[..., OpenAIDescriber]) -> None:
    with pytest.raises(UserError, match=r"answers 4\d\d \(.*\); look at .*describer\.model"):
        client(model="another/model").describe(plain("red"))


def test_a_schema_that_the_server_passes_over_is_noticed(client: Callable[..., OpenAIDescriber]) -> None:
    with pytest.raises(UserError, match=r"passes over the schema .*: describer\.structured=false"):
        client(structured=True).describe(plain("red"))


def test_a_reply_that_is_cut_off(client: Callable[..., OpenAIDescriber]) -> None:
    with pytest.raises(UserError, match=r"cut its reply off at 1 tokens; describer\.max_tokens=NUMBER"):
        client(max_tokens=1).describe(plain("red"))


def test_a_server_that_dies_loses_nothing(server: Server, client: Callable[..., OpenAIDescriber]) -> None:
    """The last of these tests: it kills the server."""
    first = client()
    first.describe(plain("green"))
    server.process.kill()
    server.process.wait()
    with pytest.raises(UserError, match=r"cannot be reached, or broke off \(.*\); start it.*Replies so far are kept"):
        describe_all(first, [plain("green"), plain("red")])
    kept = client()
    assert kept.describe(plain("green")).text == "green" and kept.counts == {
        "asked": 0,
        "kept": 1,
        "prompt_tokens": 0,
        "completion_tokens": 0,
    }
