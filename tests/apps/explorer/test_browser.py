"""The explorer in a real browser: Chromium without a screen, driven by playwright; skipped where either is missing."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="the explorer needs fastapi")
pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
pytest.importorskip("uvicorn", reason="the browser tests need uvicorn")

from tests.apps.chromium import NOT_SHOWN, UNLABELLED, chromium, needs_chromium, press_until, running, tab

__all__ = ["chromium", "tab"]  # fixtures
pytestmark = needs_chromium


@pytest.fixture
def address(app: Any) -> Iterator[str]:
    with running(app) as found:
        yield found


def pictures_loaded(tab: Any) -> bool:
    """Whether the page has pictures, and the server every one of them."""
    names = [picture.get_attribute("src") for picture in tab.locator("main img").all()]
    return bool(names) and all(tab.request.get(urljoin(tab.url, name)).ok for name in names)


def test_image_to_a_shared_address_and_back(tab: Any, address: str, chromium: Any) -> None:
    tab.goto(address)
    first = tab.locator("h1").inner_text()
    tab.get_by_role("link", name="Choose an image").click()
    tab.locator(".thumbnails a").nth(4).click()
    assert "image=test-4" in tab.url and "Test image 4 " in tab.locator("h1").inner_text()
    tab.locator("select[name=target]").select_option("boat")
    tab.locator("select[name=layer]").select_option("relu2")
    tab.get_by_role("button", name="Show").click()
    tab.get_by_role("link", name="Address of this page").click()
    tab.wait_for_load_state()  # the page comes part by part
    shared, shown = tab.url, tab.locator("main").inner_text()
    assert "target=boat" in shared and "Filters of relu2 by their score for boat" in shown
    other = chromium.new_context(java_script_enabled=False).new_page()
    other.goto(shared)
    assert other.locator("main").inner_text() == shown and pictures_loaded(other)
    while tab.url.rstrip("/") != address:
        tab.go_back()
    assert tab.locator("h1").inner_text() == first


def test_upload(tab: Any, address: str) -> None:
    stream = io.BytesIO()
    Image.effect_noise((300, 200), 90).convert("RGB").save(stream, "JPEG")
    tab.goto(f"{address}/?n=2&second=edges")
    upload = {"name": "<img src=x onerror=alert(1)>.jpg", "mimeType": "image/jpeg", "buffer": stream.getvalue()}
    tab.get_by_label("PNG, JPEG or WebP").set_input_files(upload)
    tab.get_by_role("button", name="Upload").click()
    tab.wait_for_load_state()
    assert "An uploaded image" in tab.locator("h1").inner_text() and "second=edges" in tab.url
    assert tab.locator("section[aria-labelledby=filters] .cards").first.locator("li").count() <= 2
    assert pictures_loaded(tab)


def test_two_methods_side_by_side(tab: Any, address: str) -> None:
    tab.goto(address)
    tab.get_by_label("Left").select_option(label="Grad-CAM++")
    tab.get_by_label("Right").select_option(label="guided backpropagation")
    tab.get_by_role("button", name="Show").click()
    tab.wait_for_load_state()
    figures = tab.locator(".three figure")
    titles = [figures.nth(place).locator("strong").inner_text() for place in range(figures.count())]
    assert titles == ["Grad-CAM++", "guided backpropagation", "activation sum"]
    left, right = (figures.nth(place).bounding_box() for place in (0, 1))
    assert left and right and left["y"] == right["y"] and left["x"] + left["width"] <= right["x"]


def test_keyboard_only(tab: Any, address: str) -> None:
    tab.goto(address)
    tab.keyboard.press("Tab")
    assert tab.locator(":focus").inner_text() == "Skip to the content"
    press_until(tab, lambda focus: focus.get_attribute("name") == "sign")
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("ArrowDown")
    press_until(tab, lambda focus: focus.inner_text() == "Show")
    tab.keyboard.press("Enter")
    tab.wait_for_url("**sign=negative**")
    scores = tab.locator("section[aria-labelledby=filters] .cards").first.locator(".score").all_inner_texts()
    assert scores and all(float(score) < 0 for score in scores)


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_screen(chromium: Any, address: str, width: int, scheme: str, tmp_path: Path) -> None:
    context = chromium.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    tab = context.new_page()
    for path in ("/", "/images"):
        tab.goto(address + path)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
    assert tab.evaluate(UNLABELLED) == 0
    assert tab.evaluate(NOT_SHOWN) == 0
