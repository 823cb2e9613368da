"""The checks that stand before both applications, on an application of two routes."""

import argparse
import base64
from collections.abc import Iterator

import pytest

pytest.importorskip("fastapi", reason="the applications need fastapi")
pytest.importorskip("httpx", reason="fastapi's test client needs httpx")

from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from xcnn.apps.server import SHARED, application, serve, server_arguments, templates
from xcnn.errors import UserError

ORIGIN = "http://127.0.0.1"


def made(password: str | None = None) -> FastAPI:
    app = application("test", templates(SHARED / "templates"), password=password, max_body=1000)

    @app.post("/count")
    async def count(request: Request) -> int:
        return len(await request.body())

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("the secret of line 40")

    @app.get("/refused")
    def refused() -> None:
        raise UserError("choose <b>another</b>")

    return app


@pytest.fixture
def client() -> TestClient:
    return TestClient(made(), base_url=ORIGIN, raise_server_exceptions=False)


def test_body_limit_by_declared_length(client: TestClient) -> None:
    assert client.post("/count", content=b"x" * 1000).json() == 1000
    assert client.post("/count", content=b"x" * 1001).status_code == 413


def test_body_limit_of_a_body_without_a_length(client: TestClient) -> None:
    def chunks(n: int) -> Iterator[bytes]:
        yield from (b"x" * 100 for _ in range(n))

    assert client.post("/count", content=chunks(10)).json() == 1000
    assert client.post("/count", content=chunks(11)).status_code == 413


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": ORIGIN}, 200),
        ({"origin": "http://127.0.0.1:81"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": ORIGIN, "sec-fetch-site": "cross-site"}, 403),
    ],
)
def test_posts_of_another_site(client: TestClient, headers: dict[str, str], status: int) -> None:
    assert client.post("/count", content=b"x", headers=headers).status_code == status


def test_host(client: TestClient) -> None:
    assert client.get("/static/style.css").status_code == 200
    assert client.get("/static/style.css", headers={"host": "rebound.example"}).status_code == 400


def test_no_trace_and_no_markup_in_errors(client: TestClient) -> None:
    broken, refused = client.get("/broken"), client.get("/refused")
    assert broken.status_code == 500 and "secret" not in broken.text and "Traceback" not in broken.text
    assert refused.status_code == 422 and "&lt;b&gt;another" in refused.text
    for answer in (broken, refused, client.get("/nothing"), client.post("/count", content=b"x" * 1001)):
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert client.get("/nothing.json").json() == {"error": "Not Found"}


@pytest.mark.parametrize("path", ["../security.py", "..%2fsecurity.py", "%2e%2e/security.py", "....//security.py"])
def test_static_files_only(client: TestClient, path: str) -> None:
    assert client.get(f"/static/{path}").status_code == 404


def test_password() -> None:
    client = TestClient(made(password="pässword:1"), base_url=ORIGIN)

    def status(given: str) -> int:
        token = base64.b64encode(f"anyone:{given}".encode()).decode()
        return client.get("/static/style.css", headers={"authorization": f"Basic {token}"}).status_code

    assert client.get("/static/style.css").status_code == 401
    assert client.get("/static/style.css", headers={"authorization": "Basic ?"}).status_code == 401
    assert (status("pässword:1"), status("password"), status("")) == (200, 401, 401)


def test_this_machine_alone_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both command lines listen on the loopback address, and know its names alone, unless a flag says otherwise."""
    monkeypatch.delenv("XCNN_PASSWORD", raising=False)
    asked: list[object] = []
    monkeypatch.setattr("uvicorn.run", lambda app, host, **_: asked.append(host))
    parser = argparse.ArgumentParser()
    server_arguments(parser, 8000)
    options = parser.parse_args([])
    serve(lambda hosts, password: asked.append((hosts, password)), options.host, options.port, options.name)  # type: ignore[arg-type, return-value]
    assert asked == [(("127.0.0.1", "localhost"), None), "127.0.0.1"]


def test_another_host_needs_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XCNN_PASSWORD", raising=False)
    with pytest.raises(UserError, match="XCNN_PASSWORD"):
        serve(lambda hosts, password: pytest.fail("it must not start"), "0.0.0.0", 0, [])
