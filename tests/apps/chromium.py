"""A real browser for the tests: Chromium without a screen, driven by playwright, and a server for it in a thread."""

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
UNLABELLED = "[...document.querySelectorAll('input:not([type=hidden]), select')].filter(e => !e.labels.length).length"
NOT_SHOWN = "[...document.images].filter(e => !e.alt || !e.naturalWidth).length"

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


@contextmanager
def running(app: Any) -> Iterator[str]:
    """The address of an application that is being served."""
    import uvicorn

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def tab(chromium: Any) -> Iterator[Any]:
    """A page without script that fails the test if it asks another host for anything or meets an error."""
    context = chromium.new_context(java_script_enabled=False, viewport={"width": 1280, "height": 900})
    opened, asked, errors = context.new_page(), list[str](), list[str]()
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    opened.set_default_timeout(60_000)
    yield opened
    context.close()
    assert errors == []
    assert asked and all(url.startswith("http://127.0.0.1:") for url in asked)


def press_until(tab: Any, fits: Any, most: int = 60) -> None:
    """Press Tab until the focus is on what fits."""
    for _ in range(most):
        tab.keyboard.press("Tab")
        if fits(tab.locator(":focus")):
            return
    raise AssertionError("the keyboard does not lead there")
