"""What every request to an application meets first: its host, its size, where it was sent from, and a password."""

import base64
import binascii
import hmac
from collections.abc import Mapping
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost")
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
OWN_SITE = ("same-origin", "none")  # values of Sec-Fetch-Site: a page of ours, or an address that was typed
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; img-src 'self'; style-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def secure(app: FastAPI, hosts: tuple[str, ...] = LOOPBACK, password: str | None = None, max_body: int = 2**22) -> None:
    """Put the checks before an application; the outermost is the host.

    Args:
        app: the application.
        hosts: names under which it may be asked for; a request for another one gets 400, against DNS rebinding.
        password: needed for every request (HTTP Basic, any user name); None asks for none.
        max_body: bytes that a request may carry; a larger one gets 413 before it is read as a form.
    """
    app.add_middleware(BodyLimit, max_body=max_body)
    app.add_middleware(SameSite)
    if password is not None:
        app.add_middleware(Password, password=password)
    app.add_middleware(SecurityHeaders, headers=HEADERS)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)


class SecurityHeaders:
    """Adds headers to every response that does not set them itself."""

    def __init__(self, app: ASGIApp, headers: Mapping[str, str]):
        self.app, self.headers = app, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    present.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)


class BodyLimit:
    """Refuses a body of more than `max_body` bytes: by its declared length, or when that many have come."""

    def __init__(self, app: ASGIApp, max_body: int):
        self.app, self.max_body = app, max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdecimal() or int(declared) > self.max_body:
            await PlainTextResponse(self._words(), 413)(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_body:  # a chunked body declares no length
                raise HTTPException(413, self._words())
            return message

        await self.app(scope, counted, send)

    def _words(self) -> str:
        return f"The request is larger than {self.max_body // 2**10} KiB."


class SameSite:
    """Refuses what another site's page sends: by Sec-Fetch-Site, or by Origin from a browser without it.

    A client that sends neither is no browser, and carries nobody's cookies or passwords.
    """

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in SAFE_METHODS and not _same_site(Headers(scope=scope)):
            await PlainTextResponse("This form was sent from another site.", 403)(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _same_site(headers: Headers) -> bool:
    if (site := headers.get("sec-fetch-site")) is not None:
        return site in OWN_SITE
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


class Password:
    """HTTP Basic authentication with one password and any user name."""

    def __init__(self, app: ASGIApp, password: str):
        self.app, self.password = app, password.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._known(Headers(scope=scope).get("authorization", "")):
            challenge = {"www-authenticate": 'Basic realm="xcnn", charset="UTF-8"'}
            await PlainTextResponse("A password is needed.", 401, challenge)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _known(self, authorization: str) -> bool:
        scheme, _, encoded = authorization.partition(" ")
        try:
            _, _, given = base64.b64decode(encoded, validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return False
        return scheme.lower() == "basic" and hmac.compare_digest(given, self.password)
