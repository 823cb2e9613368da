"""Votes on a page's two maps, without their names, into the database of the human study."""

import secrets
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import FastAPI, Form, Query, Request, Response
from fastapi.responses import RedirectResponse
from fastapi.templating import Jinja2Templates
from sqlalchemy import Engine
from starlette.exceptions import HTTPException

from xcnn.apps.explorer.explanations import Page
from xcnn.apps.explorer.networks import ExplainedNetwork
from xcnn.apps.explorer.state import State
from xcnn.apps.study import cookies, pairs, store
from xcnn.apps.study.tables import SAME
from xcnn.errors import UserError

Explain = Callable[[State], tuple[ExplainedNetwork, Page]]


def add_voting(app: FastAPI, pages: Jinja2Templates, explain: Explain, engine: Engine) -> None:
    """Add `/vote`, which shows a state's two maps on sides that chance chose and takes one vote a rater and pair.

    Args:
        app: the explorer.
        pages: its templates.
        explain: the network and the explanations of a state.
        engine: the study's database.
    """
    study = pairs.opened(engine)

    def page(request: Request, name: str, **context: Any) -> Response:
        context |= {"study": study, "known": cookies.rater_of(request, engine, study) is not None}
        answer = pages.TemplateResponse(request, f"{name}.html.jinja", context)
        answer.headers["cache-control"] = "no-store"
        return answer

    def maps_of(state: State) -> tuple[ExplainedNetwork, Page]:
        if state.first == state.second:
            raise UserError("both maps are of the same method: choose two methods to compare.")
        return explain(state)

    @app.get("/vote")
    def ballot(request: Request, state: Annotated[State, Query()]) -> Response:
        _, values = maps_of(state)
        sides = [values["first"], values["second"]]
        secrets.SystemRandom().shuffle(sides)
        return page(request, "vote", state=state, shown=values, sides=sides, left=sides[0]["method"])

    @app.post("/vote")
    def vote(
        request: Request,
        state: Annotated[str, Form(max_length=2000)],
        left: Annotated[str, Form(max_length=100)],
        answer: Annotated[str, Form(max_length=10)] = "",
        version: Annotated[str, Form(max_length=10)] = "",
        agree: Annotated[str, Form(max_length=10)] = "",
    ) -> Response:
        parsed = State.parse(state)
        network, values = maps_of(parsed)
        methods = (parsed.first, parsed.second)
        if left not in methods or answer not in ("0", "1", SAME):
            raise HTTPException(422, "Please choose one of the answers, then send it.")
        sides = methods if left == methods[0] else methods[::-1]
        rater = cookies.rater_of(request, engine, study)
        if rater is None:
            if agree != "yes":
                raise HTTPException(422, "Without your agreement no vote is kept; you may simply leave.")
            rater = pairs.agree(engine, study, version)
        given = SAME if answer == SAME else sides[int(answer)]
        weights = (network.subject.weights or "random")[:12]
        image = f"{network.name}/{weights}/{values['layer']}/{values['target']}/{values['image']['hash']}"
        outcome = pairs.vote(engine, study, rater, pairs.Ballot(image, values["target"], sides), given)
        if outcome == "refused":
            raise HTTPException(409, "You have voted on these two maps before; the first vote is kept.")
        titles = {values[place]["method"]: values[place]["title"] for place in ("first", "second")}
        another = parsed.query(image=f"test-{secrets.randbelow(len(network.subject.data.test))}")
        words = "about the same" if given == SAME else titles[given]
        found = page(
            request, "voted", state=parsed, words=words, titles=[titles[each] for each in sides], another=another
        )
        cookies.remember(request, found, study, store.signed(study, str(rater)))
        return found

    @app.post("/vote/withdraw")
    def withdraw(request: Request) -> Response:
        rater = cookies.rater_of(request, engine, study)
        if rater is None:
            raise HTTPException(403, "There is no vote of yours here.")
        store.withdraw(engine, rater)
        gone = RedirectResponse("/vote/withdrawn", 303)
        cookies.forget(gone, study)
        return gone

    @app.get("/vote/withdrawn")
    def withdrawn(request: Request) -> Response:
        return page(request, "withdrawn")
