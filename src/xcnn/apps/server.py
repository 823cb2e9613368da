"""An application with its templates, its error pages and its server: what the explorer and the study share."""

import argparse
import ipaddress
import logging
import os
from collections.abc import Callable, Iterator
from http import HTTPStatus
from itertools import chain
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.exceptions import HTTPException

from xcnn.apps.security import HEADERS, LOOPBACK, secure
from xcnn.errors import UserError

SHARED = Path(__file__).parent
SEND = Markup("<!-- -->\n")  # where a streamed page is sent so far
CUT_OFF = '<p class="warning" role="alert">The rest of this page could not be made; the server\'s log says why.</p>'
PASSWORD = "XCNN_PASSWORD"  # the environment variable


def templates(folder: Path) -> Jinja2Templates:
    """Templates of an application's folder, and the shared ones: `layout.html.jinja` and `macros`; all text escaped."""
    loader = FileSystemLoader([folder, SHARED / "templates"])
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return Jinja2Templates(env=environment)


def streamed(pages: Jinja2Templates, request: Request, name: str, context: dict[str, Any]) -> Response:
    """A page of which each part is sent when it is rendered: what a template makes up to `{{ send }}` goes at once.

    An error in the first part is answered as any other; one in a later part ends the page, which then says so.
    """

    def parts() -> Iterator[str]:
        held, sent = list[str](), False
        try:
            for text in pages.get_template(name).generate({"request": request, "send": SEND, **context}):
                held.append(text)
                if text == SEND:
                    yield "".join(held)
                    held, sent = [], True
            yield "".join(held)
        except Exception:
            if not sent:
                raise
            logging.getLogger(__name__).exception("%s could not be made to its end", request.url.path)
            yield CUT_OFF

    rest = parts()
    return StreamingResponse(chain([next(rest)], rest), media_type="text/html")


def application(
    title: str,
    pages: Jinja2Templates,
    hosts: tuple[str, ...] = LOOPBACK,
    password: str | None = None,
    max_body: int = 2**22,
    **options: Any,
) -> FastAPI:
    """An application without routes: secured, with the shared style sheet at /static and its errors as pages.

    An address that ends in `.json` gets its errors as JSON. No error shows a trace; the log has it.

    Args:
        title: name of the application, in every page's title.
        pages: templates from `templates`.
        hosts, password, max_body: as for `security.secure`.
        options: further arguments of `FastAPI`, such as `lifespan`.
    """
    app = FastAPI(title=title, docs_url=None, redoc_url=None, openapi_url=None, **options)
    pages.env.globals["application"] = title
    app.mount("/static", StaticFiles(directory=SHARED / "static"), name="static")

    def answer(request: Request, status: int, words: str) -> Response:
        if request.url.path.endswith(".json"):
            return JSONResponse({"error": words}, status)
        context = {"status": status, "phrase": HTTPStatus(status).phrase, "words": words}
        return pages.TemplateResponse(request, "error.html.jinja", context, status)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        return answer(request, error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        words = "; ".join(f"{'.'.join(map(str, each['loc'][1:]))}: {each['msg']}" for each in error.errors())
        return answer(request, 422, words)

    @app.exception_handler(UserError)
    async def mendable(request: Request, error: UserError) -> Response:
        return answer(request, 422, str(error))

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> Response:
        page = answer(request, 500, "Something went wrong here; the server's log says what.")
        page.headers.update(HEADERS)  # this handler stands outside of all middleware
        return page

    secure(app, hosts, password, max_body)
    return app


def server_arguments(parser: argparse.ArgumentParser, port: int) -> None:
    """The options of the command line that say where to listen."""
    parser.add_argument("--host", default="127.0.0.1", help=f"address to listen on; another needs {PASSWORD} to be set")
    parser.add_argument("--port", type=int, default=port, help="port to listen on (%(default)s)")
    parser.add_argument(
        "--name", action="append", default=[], help="host name under which others reach it; may be repeated"
    )


def serve(make: Callable[[tuple[str, ...], str | None], FastAPI], host: str, port: int, names: list[str]) -> None:
    """Serve an application until it is stopped: on this machine only, or elsewhere behind a password.

    Args:
        make: the application, of the hosts' names and the password.
        host, port, names: as `server_arguments` reads them.

    Raises:
        UserError: another host than this machine's own without a password.
    """
    password = os.environ.get(PASSWORD) or None
    if not _loopback(host) and password is None:
        raise UserError(
            f"to listen on {host}, where others can reach it, set a password: {PASSWORD}=... in the environment."
        )
    hosts = tuple(dict.fromkeys((*LOOPBACK, *([] if host in ("0.0.0.0", "::") else [host]), *names)))
    logging.getLogger(__name__).info("http://%s:%d", host, port)
    uvicorn.run(make(hosts, password), host=host, port=port, log_level="info", server_header=False)


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
