"""A real HTTP server with chat completions, whose faults are those that servers were seen to have."""

import base64
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image

WORDS = "A red wheel at the lower left of a bird."


class Answer:
    """What the server does with a request: status, headers and body; or it breaks off, or waits first."""

    def __init__(
        self, body: str, status: int = 200, headers: dict[str, str] | None = None, die: bool = False, wait: float = 0.0
    ):
        self.body, self.status, self.headers, self.die, self.wait = body, status, headers or {}, die, wait


def completion(text: str | None = WORDS, prompt_tokens: int | None = 50, finish: str = "stop") -> Answer:
    usage = None if prompt_tokens is None else {"prompt_tokens": prompt_tokens, "completion_tokens": 7}
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return Answer(json.dumps({"id": "1", "object": "chat.completion", "choices": [choice], "usage": usage}))


class Chat(ThreadingHTTPServer):
    """Answers each question by `answer(request, its number)`, and a check by `check(number of pictures)`.

    Attributes:
        questions: bodies of the requests that are questions, in the order of their arrival.
        checks: of those that only look whether pictures arrive.
        keys: the authorisation of every request.
        most: most requests that were under way at once.
    """

    daemon_threads = True

    def __init__(self, answer: Callable[[dict[str, Any], int], Answer], check: Callable[[int], Answer] | None = None):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer, self.check = answer, check or (lambda n: completion("red", 10 + 40 * n))
        self.questions: list[dict[str, Any]] = []
        self.checks: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.under_way = self.most = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def reply(self, request: dict[str, Any], key: str | None) -> Answer:
        with self.lock:
            self.keys.append(key)
            if "Which colour has the picture?" in prompt(request):
                self.checks.append(request)
                return self.check(len(pictures(request)))
            self.questions.append(request)
            n = len(self.questions)
        return self.answer(request, n)


class _Handler(BaseHTTPRequestHandler):
    server: Chat

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.under_way += 1
            self.server.most = max(self.server.most, self.server.under_way)
        try:
            found = self.server.reply(request, self.headers["Authorization"])
            time.sleep(found.wait)
        finally:
            with self.server.lock:
                self.server.under_way -= 1
        body = found.body.encode()
        self.send_response(found.status)
        for name, value in {"Content-Type": "application/json", **found.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if found.die else body)
        self.close_connection = True

    def log_message(self, *arguments: Any) -> None:
        pass


def prompt(request: dict[str, Any]) -> str:
    return str(request["messages"][0]["content"][0]["text"])


def pictures(request: dict[str, Any]) -> list[np.ndarray]:
    """The pictures of a request, (H, W, 3)."""
    head = "data:image/png;base64,"
    addresses = [part["image_url"]["url"] for part in request["messages"][0]["content"] if part["type"] == "image_url"]
    assert all(address.startswith(head) for address in addresses)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(address[len(head) :])))) for address in addresses]


@contextmanager
def running(server: Chat) -> Iterator[Chat]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
