"""Pages that are sent as they are made."""

import asyncio
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the applications need fastapi")

from fastapi import Request
from fastapi.templating import Jinja2Templates
from jinja2 import DictLoader, Environment

from xcnn.apps.server import SEND, streamed


def test_what_stands_first_is_sent_before_the_rest_is_made() -> None:
    made: list[str] = []

    def late() -> str:
        made.append("late")
        return "<late>"

    source = "first {{ name }}{{ send }}{{ late() }}{{ send }}last"
    pages = Jinja2Templates(env=Environment(loader=DictLoader({"page": source}), autoescape=True))
    answer: Any = streamed(pages, Request({"type": "http"}), "page", {"name": "<one>", "late": late})

    async def sent() -> list[str]:
        parts = answer.body_iterator
        first = await anext(parts)
        assert made == [], "the first part waited for what comes after it"
        return [first, *[part async for part in parts]]

    assert asyncio.run(sent()) == [f"first &lt;one&gt;{SEND}", f"&lt;late&gt;{SEND}", "last"]
    assert made == ["late"]
