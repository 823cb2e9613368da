"""Pages that are sent as they are made."""

import asyncio
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the applications need fastapi")

from fastapi import Request
from fastapi.templating import Jinja2Templates
from jinja2 import DictLoader, Environment

from xcnn.apps.server import CUT_OFF, SEND, streamed

REQUEST = Request({"type": "http", "path": "/", "headers": [], "server": ("127.0.0.1", 80)})


def test_what_stands_first_is_sent_before_the_rest_is_made() -> None:
    made: list[str] = []

    def late() -> str:
        made.append("late")
        return "<late>"

    source = "first {{ name }}{{ send }}{{ late() }}{{ send }}last"
    pages = Jinja2Templates(env=Environment(loader=DictLoader({"page": source}), autoescape=True))
    answer: Any = streamed(pages, REQUEST, "page", {"name": "<one>", "late": late})

    async def sent() -> list[str]:
        parts = answer.body_iterator
        first = await anext(parts)
        assert made == [], "the first part waited for what comes after it"
        return [first, *[part async for part in parts]]

    assert asyncio.run(sent()) == [f"first &lt;one&gt;{SEND}", f"&lt;late&gt;{SEND}", "last"]
    assert made == ["late"]


def test_an_error_in_the_first_part_is_raised_and_a_later_one_ends_the_page(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> None:
        raise RuntimeError("the secret of line 40")

    pages = Jinja2Templates(env=Environment(loader=DictLoader({"early": "{{ f() }}", "late": "a{{ send }}b{{ f() }}"})))
    with pytest.raises(RuntimeError):
        streamed(pages, REQUEST, "early", {"f": broken})
    answer: Any = streamed(pages, REQUEST, "late", {"f": broken})

    async def sent() -> list[str]:
        return [part async for part in answer.body_iterator]

    assert asyncio.run(sent()) == [f"a{SEND}", CUT_OFF]
    assert "the secret of line 40" in caplog.text, "the log has what the page has not"
