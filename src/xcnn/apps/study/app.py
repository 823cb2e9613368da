"""The study's pages. A rater is known by a signed cookie, which a signed link sets again on another machine."""

import logging
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Form, HTTPException, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as WaitedTooLong

from xcnn.apps.security import LOOPBACK
from xcnn.apps.server import application, templates
from xcnn.apps.study import cookies, store
from xcnn.apps.study.tables import Study
from xcnn.apps.study.votes import export

SCORE_WORDS = {
    2: "map A is more reliable",
    1: "map A is slightly more reliable",
    0: "both are equally reliable",
    -1: "map B is slightly more reliable",
    -2: "map B is more reliable",
}


def study_app(engine: Engine, hosts: tuple[str, ...] = LOOPBACK, password: str | None = None) -> FastAPI:
    """The application over a database.

    Args:
        engine: of `database.connect`.
        hosts, password: as for `security.secure`.
    """
    pages = templates(Path(__file__).parent / "templates")
    app = application("Which map fits?", pages, hosts, password, max_body=2**14)

    def any_study(name: str) -> Study:
        found = store.study_named(engine, name)
        if found is None:
            raise HTTPException(404, "There is no such study.")
        return found

    def the_study(found: Annotated[Study, Depends(any_study)]) -> Study:
        if found.kind == "pairs":
            raise HTTPException(404, "These votes are given in the explorer.")
        return found

    OfStudy = Annotated[Study, Depends(the_study)]

    def the_rater(request: Request, study: OfStudy) -> int:
        rater = cookies.rater_of(request, engine, study)
        if rater is None:
            raise HTTPException(403, "You have not agreed to take part, or have withdrawn.")
        return rater

    def the_administrator(study: Annotated[Study, Depends(any_study)], token: str) -> Study:
        if store.verified(study, token) != "admin":
            raise HTTPException(404, "There is no such page.")
        return study

    OfRater = Annotated[int, Depends(the_rater)]
    Administered = Annotated[Study, Depends(the_administrator)]

    def page(request: Request, name: str, status: int = 200, **context: Any) -> Response:
        answer = pages.TemplateResponse(request, f"{name}.html.jinja", context, status)
        answer.headers["cache-control"] = "no-store"
        return answer

    @app.exception_handler(OperationalError)
    @app.exception_handler(WaitedTooLong)
    def busy(request: Request, error: Exception) -> Response:
        logging.getLogger(__name__).error("the database: %s", error)
        words = "The database does not answer just now, and nothing was kept of this request: please send it again."
        context = {"status": 503, "phrase": "Please wait a moment", "words": words}
        return pages.TemplateResponse(request, "error.html.jinja", context, 503, {"retry-after": "10"})

    @app.get("/")
    def index(request: Request) -> Response:
        return page(request, "index", studies=[each for each in store.studies(engine) if each.kind != "pairs"])

    @app.get("/study/{name}")
    def welcome(request: Request, study: OfStudy) -> Response:
        return page(request, "consent", study=study, known=cookies.rater_of(request, engine, study) is not None)

    @app.post("/study/{name}/consent")
    def agree(
        request: Request, study: OfStudy, version: Annotated[str, Form()], agree: Annotated[str, Form()] = ""
    ) -> Response:
        if agree != "yes":
            raise HTTPException(422, "Without your agreement the study cannot begin; you may simply leave.")
        token = store.signed(study, str(store.consent(engine, study, version)))
        return _known(request, study, token, "instructions")

    @app.get("/study/{name}/instructions")
    def instructions(request: Request, study: OfStudy, rater: OfRater) -> Response:
        link = request.url_for("resume", name=study.name, token=store.signed(study, str(rater)))
        return page(request, "instructions", study=study, link=link)

    @app.get("/study/{name}/resume/{token}")
    def resume(request: Request, study: OfStudy, token: str) -> Response:
        who = store.verified(study, token)
        if who is None or not who.isdecimal():
            raise HTTPException(404, "There is no such page.")
        return _known(request, study, token, "question")

    @app.get("/study/{name}/question")
    def question(request: Request, study: OfStudy, rater: OfRater) -> Response:
        asked = store.next_question(engine, study, rater)
        if asked is None:
            return page(request, "end", study=study)
        return page(request, "question", study=study, asked=asked, score_words=SCORE_WORDS)

    @app.post("/study/{name}/answer")
    def answer(
        study: OfStudy, rater: OfRater, item: Annotated[int, Form()], answer: Annotated[str, Form()] = ""
    ) -> Response:
        if not answer:
            raise HTTPException(422, "Please choose one of the answers, then send it.")
        if store.answer(engine, study, rater, item, answer) == "refused":
            raise HTTPException(409, "You have answered this image before; the first answer is kept.")
        return RedirectResponse(f"/study/{study.name}/question", 303)

    @app.get("/study/{name}/withdraw")
    def leaving(request: Request, study: OfStudy, rater: OfRater) -> Response:
        return page(request, "withdraw", study=study)

    @app.post("/study/{name}/withdraw")
    def withdraw(request: Request, study: OfStudy, rater: OfRater) -> Response:
        store.withdraw(engine, rater)
        gone = page(request, "withdrawn", study=study)
        cookies.forget(gone, study)
        return gone

    @app.get("/picture/{identifier}")
    def picture(identifier: str) -> Response:
        content = store.picture(engine, identifier)
        if content is None:
            raise HTTPException(404, "There is no such picture.")
        return Response(content, media_type="image/png", headers={"cache-control": "private, max-age=86400, immutable"})

    @app.get("/study/{name}/admin/{token}")
    def administration(request: Request, study: Administered, token: str) -> Response:
        return page(request, "admin", study=study, raters=store.progress(engine, study), token=token)

    @app.get("/study/{name}/admin/{token}/export.csv")
    def exported(study: Administered, token: str) -> Response:
        named = {"content-disposition": f'attachment; filename="{study.name}.csv"', "cache-control": "no-store"}
        return Response(export(engine, study.name).to_csv(index=False), media_type="text/csv", headers=named)

    return app


def _known(request: Request, study: Study, token: str, onwards: str) -> Response:
    answer = RedirectResponse(f"/study/{study.name}/{onwards}", 303)
    cookies.remember(request, answer, study, token)
    return answer
