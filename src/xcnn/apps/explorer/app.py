"""The explorer's addresses. A page is its address; what it shows is at `/explore.json` with the same query."""

from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, File, Form, Query, Request, Response, UploadFile
from fastapi import Path as PathParameter
from fastapi.responses import JSONResponse, RedirectResponse
from sqlalchemy import Engine
from starlette.exceptions import HTTPException

from xcnn.apps.explorer.explanations import Chosen, Explanations, Page
from xcnn.apps.explorer.loading import Networks, NotReady
from xcnn.apps.explorer.networks import ExplainedNetwork, attribution_methods
from xcnn.apps.explorer.pictures import PictureStore, Uploads, fitted, name_of, png
from xcnn.apps.explorer.state import GalleryState, State
from xcnn.apps.explorer.voting import add_voting
from xcnn.apps.security import LOOPBACK
from xcnn.apps.server import application, streamed, templates
from xcnn.data.tensors import scale
from xcnn.errors import UserError

MAX_UPLOAD = 2**23  # bytes
RETRY_SECONDS = 3  # until a page of a network that is not there yet is asked for again
PER_PAGE = 48  # images to choose from


def explorer(
    networks: Networks,
    uploads: Path,
    hosts: tuple[str, ...] = LOOPBACK,
    password: str | None = None,
    votes: Engine | None = None,
) -> FastAPI:
    """The application.

    Args:
        networks: networks to choose from, by name; the first is the default. Pages of one that is not there yet say so.
        uploads: folder for uploaded pictures.
        hosts, password: as for `security.secure`.
        votes: the human study's database, into which votes on two maps go; None takes none.
    """
    pages = templates(Path(__file__).parent / "templates")
    app = application("xcnn explorer", pages, hosts, password, MAX_UPLOAD)
    kept, store = Uploads(uploads), PictureStore()
    explanations = Explanations(store.put)

    def network_of(state: State) -> ExplainedNetwork:
        return networks[state.network or networks.names[0]]

    def image_of(state: State, network: ExplainedNetwork) -> Chosen:
        data = network.subject.data
        if not state.image.startswith("test-"):
            _, height, width = data.input_size
            return Chosen(fitted(kept.read(state.image), (height, width)), "an uploaded image", None)
        place = int(state.image.removeprefix("test-"))
        if place >= len(data.test):
            raise UserError(f"{data.name} has {len(data.test)} test images, and no {state.image}.")
        label = data.classes[int(data.test.labels[place])]
        return Chosen(scale(data.test.images[place]), f"test image {place} of {data.name}", label)

    def explained(state: State) -> tuple[ExplainedNetwork, Page]:
        network = network_of(state)
        return network, explanations.page(network, state, image_of(state, network))

    @app.exception_handler(NotReady)
    def waiting(request: Request, error: NotReady) -> Response:
        later = {"retry-after": str(RETRY_SECONDS)}
        if request.url.path.endswith(".json"):
            return JSONResponse({"error": str(error), "networks": error.states}, 503, later)
        context = {"words": str(error), "states": error.states, "there": networks.there, "seconds": RETRY_SECONDS}
        return pages.TemplateResponse(request, "waiting.html.jinja", context, 503, later)

    @app.get("/")
    def page(request: Request, state: Annotated[State, Query()]) -> Response:
        if not state.network and networks.there and networks.names[0] not in networks.there:
            return RedirectResponse("/?" + state.query(network=networks.there[0]), 303)
        network, shown = explained(state)
        context: dict[str, Any] = {
            "state": state,
            "query": state.query(),
            "page": shown,
            "networks": {name: networks[name].title for name in networks.there}
            | {name: f"{name} ({words})" for name, words in networks.states.items()},
            "network": network,
            "methods": attribution_methods(),
            "votes": votes is not None,
            "place": int(state.image.removeprefix("test-")) if state.image.startswith("test-") else None,
        }
        return streamed(pages, request, "explore.html.jinja", context)

    @app.get("/explore.json")
    def values(state: Annotated[State, Query()]) -> JSONResponse:
        return JSONResponse({"state": state.model_dump(), **explained(state)[1]})

    @app.get("/images")
    def gallery(request: Request, chosen: Annotated[GalleryState, Query()]) -> Response:
        network, state = network_of(chosen), State(**chosen.model_dump(exclude={"label", "page"}))
        data = network.subject.data
        if chosen.label and chosen.label not in data.classes:
            raise UserError(f"{data.name} has no class {chosen.label!r}; there are: {', '.join(data.classes)}.")
        label = data.classes.index(chosen.label) if chosen.label else None
        places = [i for i, each in enumerate(data.test.labels.tolist()) if label is None or each == label]
        shown = places[chosen.page * PER_PAGE : (chosen.page + 1) * PER_PAGE]
        contents = [png(scale(data.test.images[place])) for place in shown]
        store.put({name_of(content): content for content in contents})
        context = {
            "state": state,
            "chosen": chosen,
            "classes": data.classes,
            "images": [
                (place, data.classes[int(data.test.labels[place])], name_of(content))
                for place, content in zip(shown, contents, strict=True)
            ],
            "more": len(places) > (chosen.page + 1) * PER_PAGE,
        }
        return pages.TemplateResponse(request, "images.html.jinja", context)

    @app.get("/picture/{name}.png")
    def picture(name: Annotated[str, PathParameter(pattern=r"^[0-9a-f]{32}$")]) -> Response:
        content = store.get(name)
        if content is None:
            raise HTTPException(404, "This picture is no longer kept; open its page again.")
        return Response(
            content, media_type="image/png", headers={"cache-control": "private, max-age=604800, immutable"}
        )

    @app.post("/upload")
    def upload(file: Annotated[UploadFile, File()], state: Annotated[str, Form(max_length=2000)] = "") -> Response:
        network_of(State.parse(state))  # before anything is kept
        name = kept.add(file.file.read())
        return RedirectResponse("/?" + State.parse(state).query(image=name), 303)

    if votes is not None:
        add_voting(app, pages, explained, votes)
    return app
