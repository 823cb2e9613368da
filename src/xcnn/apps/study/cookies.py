"""How a browser is known as a rater's: by a cookie with a signed number, and by nothing else."""

import hashlib

from fastapi import Request, Response
from sqlalchemy import Engine

from xcnn.apps.study import store
from xcnn.apps.study.tables import Study

SECONDS = 90 * 24 * 3600  # that it is kept


def name_of(study: Study) -> str:
    """Of each study its own; a name's letters are no cookie's, so its hash."""
    return f"rater-{hashlib.sha256(study.name.encode()).hexdigest()[:12]}"


def rater_of(request: Request, engine: Engine, study: Study) -> int | None:
    """The rater whose browser asks; None if it is nobody's, the cookie is forged, or the rater has withdrawn."""
    who = store.verified(study, request.cookies.get(name_of(study), ""))
    known = who is not None and who.isdecimal() and store.takes_part(engine, study, int(who))
    return int(who) if known and who is not None else None


def remember(request: Request, response: Response, study: Study, token: str) -> None:
    """Set the cookie of a token that `store.signed` gave."""
    secure = request.url.scheme == "https"
    response.set_cookie(name_of(study), token, SECONDS, path="/", secure=secure, httponly=True, samesite="lax")


def forget(response: Response, study: Study) -> None:
    response.delete_cookie(name_of(study), path="/")
