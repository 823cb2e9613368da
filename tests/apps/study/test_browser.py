"""The study in a real browser, from consent to export: Chromium without a screen; skipped where it is missing."""

import re
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest

pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
pytest.importorskip("uvicorn", reason="the browser tests need uvicorn")

from tests.apps.chromium import NOT_SHOWN, UNLABELLED, chromium, needs_chromium, press_until, running, tab
from tests.apps.study.studies import METHODS, MODELS, design, items
from xcnn.metrics.human_study import SAME

__all__ = ["chromium", "tab"]  # fixtures
pytestmark = needs_chromium
IMAGES = 3


@pytest.fixture
def address(engine: Any) -> Iterator[str]:
    """A server with a study of each kind: three images, one for practice, one attention check."""
    from xcnn.apps.study import store
    from xcnn.apps.study.app import study_app

    for kind in ("maps", "models"):
        found = design(kind, IMAGES, kind)  # type: ignore[arg-type]
        store.create(engine, found, items(found.choices, IMAGES))
    with running(study_app(engine)) as found_at:
        yield found_at


def administration(engine: Any, name: str) -> str:
    from xcnn.apps.study import store

    study = store.study_named(engine, name)
    assert study is not None
    return f"/study/{name}/admin/{store.signed(study, 'admin')}"


def exported(tab: Any, address: str, engine: Any, name: str) -> pd.DataFrame:
    tab.goto(address + administration(engine, name))
    with tab.expect_download() as download:
        tab.get_by_role("link", name="Export the answers").click()
    return pd.read_csv(download.value.path())


def begin(tab: Any, address: str, name: str) -> None:
    tab.goto(f"{address}/study/{name}")
    tab.get_by_role("checkbox").check()
    tab.get_by_role("button", name="Begin").click()
    tab.get_by_role("link", name="Go on").click()


def shown(tab: Any, engine: Any) -> tuple[str, list[str]]:
    """The image asked about, and its choices from left to right: the test looks behind the pictures' names."""
    from sqlalchemy import select

    from xcnn.apps.study.tables import Item, Picture

    tab.wait_for_load_state()  # a click returns when the next page begins to arrive, and `all` waits for nothing
    names = [picture.get_attribute("src").removeprefix("/picture/") for picture in tab.locator("main img").all()]
    query = select(Picture.id, Picture.choice, Item.image).join(Item, Item.id == Picture.item_id)
    with engine.connect() as connection:
        known = {row.id: (row.choice, row.image) for row in connection.execute(query)}
    assert known[names[0]][0] == ""
    return known[names[0]][1], [known[name][0] for name in names[1:]]


def test_keyboard_only_from_consent_to_export(tab: Any, address: str, engine: Any) -> None:
    """No pointer, and no script: the second map of each image, at last "the same"."""
    tab.goto(f"{address}/study/maps")
    press_until(tab, lambda focus: focus.get_attribute("type") == "checkbox")
    tab.keyboard.press("Space")
    press_until(tab, lambda focus: focus.inner_text() == "Begin")
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/instructions")
    press_until(tab, lambda focus: focus.inner_text() == "Go on")
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/question")
    given = dict[str, str]()
    while (heading := tab.locator("h1").inner_text()) != "Thank you":
        image, choices = shown(tab, engine)
        assert image not in given
        press_until(tab, lambda focus: focus.get_attribute("type") == "radio")
        last = len(given) == IMAGES + 1
        for key in ["Space", "ArrowDown", *(["ArrowDown", "ArrowDown"] if last else [])]:
            tab.keyboard.press(key)
        press_until(tab, lambda focus: focus.inner_text() == "Send and go on")
        tab.keyboard.press("Enter")
        tab.get_by_role("heading", name=heading, exact=True).wait_for(state="detached")
        given[image] = SAME if last else choices[1]
    assert len(given) == IMAGES + 2
    table = exported(tab, address, engine, "maps")
    assert dict(zip(table["image"], table["choice"], strict=True)) == {
        image: choice for image, choice in given.items() if image.startswith("image")
    }


def test_two_networks(tab: Any, address: str, engine: Any) -> None:
    """The first network's map is always the better one, on whichever side it is; the check's two maps are alike."""
    begin(tab, address, "models")
    while tab.locator("h1").inner_text() != "Thank you":
        image, choices = shown(tab, engine)
        better = "map A is more reliable" if choices[0] == MODELS[0] else "map B is more reliable"
        words = "both are equally reliable" if image.startswith("check") else better
        tab.get_by_label(words, exact=True).check()
        tab.get_by_role("button", name="Send and go on").click()
    table = exported(tab, address, engine, "models")
    assert len(table) == IMAGES and not table["excluded"].any()
    assert (table["score"] == table["left"].map({MODELS[0]: 2, MODELS[1]: -2})).all()
    tab.goto(address + administration(engine, "models"))
    assert "finished" in tab.locator("tr").nth(1).inner_text()


def test_an_answer_must_be_chosen(tab: Any, address: str, engine: Any) -> None:
    begin(tab, address, "maps")
    before = shown(tab, engine)
    tab.get_by_role("button", name="Send and go on").click()  # the browser asks for a choice, and sends nothing
    assert tab.url.endswith("/question") and shown(tab, engine) == before


def test_going_on_elsewhere(tab: Any, address: str, engine: Any, chromium: Any) -> None:
    begin(tab, address, "maps")
    tab.get_by_label("The maps are about the same").check()
    tab.get_by_role("button", name="Send and go on").click()
    second = shown(tab, engine)
    tab.get_by_role("link", name="Instructions, and the address to go on later").click()
    link = tab.locator("main a").first.inner_text()
    other = chromium.new_context(java_script_enabled=False).new_page()
    other.goto(f"{address}/study/maps/question")
    assert "403" in other.locator("h1").inner_text()
    other.goto(link)
    assert shown(other, engine) == second and "Image 2 of 5" in other.locator("main").inner_text()
    other.get_by_label("The maps are about the same").check()
    other.get_by_role("button", name="Send and go on").click()
    tab.goto(f"{address}/study/maps")
    tab.get_by_role("link", name="Go on").click()
    assert shown(tab, engine) == shown(other, engine) != second


def test_withdrawal(chromium: Any, address: str, engine: Any, tab: Any) -> None:
    leaves = chromium.new_context(java_script_enabled=False).new_page()
    for each in (leaves, tab):
        begin(each, address, "maps")
        for _ in range(3):
            each.get_by_label(re.compile("^Map A")).check()
            each.get_by_role("button", name="Send and go on").click()
    leaves.get_by_role("link", name="Withdraw").click()
    leaves.get_by_role("button", name="Delete my answers").click()
    assert "You have withdrawn" in leaves.locator("h1").inner_text()
    leaves.go_back()
    leaves.goto(f"{address}/study/maps/question")
    assert "403" in leaves.locator("h1").inner_text()
    table = exported(tab, address, engine, "maps")
    assert set(table["rater"]) == {1} and table["choice"].isin(METHODS).sum() >= 1
    tab.goto(address + administration(engine, "maps"))
    assert "withdrawn" in tab.locator("tr").nth(1).inner_text()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_the_screen(chromium: Any, address: str, engine: Any, width: int, scheme: str) -> None:
    context = chromium.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    tab = context.new_page()
    for name in ("maps", "models"):
        begin(tab, address, name)
        pages = ("", "/instructions", "/question", "/withdraw", "/nothing")
        for path in [f"/study/{name}{page}" for page in pages] + [administration(engine, name), "/"]:
            tab.goto(address + path)
            assert tab.evaluate("document.documentElement.scrollWidth") <= width, path
            ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
            assert tab.evaluate(UNLABELLED) == 0 and tab.evaluate(NOT_SHOWN) == 0, path
    context.close()
