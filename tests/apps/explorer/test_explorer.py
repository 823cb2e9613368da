"""Pages, their JSON and their pictures against the network itself."""

import io
import re
from urllib.parse import quote

import numpy as np
import pytest
import torch

pytest.importorskip("fastapi", reason="the explorer needs fastapi")
pytest.importorskip("httpx", reason="fastapi's test client needs httpx")
pytest.importorskip("python_multipart", reason="uploads need python-multipart")

from fastapi.testclient import TestClient
from PIL import Image

from xcnn.apps.explorer.networks import ExplainedNetwork, attribution_methods
from xcnn.apps.explorer.pictures import name_of
from xcnn.apps.explorer.state import State
from xcnn.attribution import GradCAM
from xcnn.data.tensors import scale
from xcnn.figures import encircled, overlay, proportionate
from xcnn.filters import score_filters


def pixels(client: TestClient, name: str) -> np.ndarray:
    answer = client.get(f"/picture/{name}.png")
    assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"]
    assert name_of(answer.content) == name
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def drawn(picture: np.ndarray) -> np.ndarray:
    return np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)


def test_values(client: TestClient, network: ExplainedNetwork) -> None:
    found = client.get("/explore.json", params={"image": "test-3", "layer": "relu2", "target": "car", "n": 4}).json()
    image, data = scale(network.subject.data.test.images[3]), network.subject.data
    with torch.no_grad():
        probabilities = network.subject.network(image[None]).softmax(1)[0]
        right = network.subject.network(scale(data.test.images)).argmax(1) == data.test.labels
    top = int(probabilities.argmax())
    assert found["prediction"]["classes"][0]["name"] == data.classes[top]
    assert found["prediction"]["classes"][0]["probability"] == pytest.approx(float(probabilities[top]), rel=1e-5)
    assert found["image"]["label"] == data.classes[int(data.test.labels[3])]
    assert found["prediction"]["right"] is bool(right[3])
    assert found["network"]["accuracy"] == pytest.approx(float(right.float().mean()))
    assert found["activity"]["dead_share"] == network.explainer("relu2", "one").activity.dead_share

    scores = score_filters(network.subject.network, "relu2", (3, 32, 32))[data.classes.index("car")]
    maps = network.explainer("relu2", "one").maps(image)
    live = maps.amax((1, 2)) > 0
    expected = scores.abs().masked_fill(~live, -1).topk(4)
    assert [abs(each["score"]) for each in found["filters"]["shown"]] == pytest.approx(expected.values.tolist())
    first = found["filters"]["shown"][0]
    activation = maps[first["filter"]]
    assert (pixels(client, first["proportionate"]) == drawn(proportionate(image, activation))).all()
    assert (pixels(client, first["encircled"]) == drawn(encircled(image, activation, 0.5, 6.0))).all()
    assert found["filters"]["control"]["filter"] == int(maps.mean((1, 2)).argmax())
    grad_cam = GradCAM(network.subject.network, layer="relu2")(image[None], data.classes.index("car"))[0]
    assert (pixels(client, found["first"]["picture"]) == drawn(overlay(image, grad_cam))).all()
    assert found["control"]["method"] == "activation_sum"


@pytest.mark.parametrize(("sign", "fits"), [("positive", lambda s: s > 0), ("negative", lambda s: s < 0)])
@pytest.mark.parametrize("unit", ["one", "p95"])
def test_signs_and_units(client: TestClient, network: ExplainedNetwork, sign: str, fits: object, unit: str) -> None:
    found = client.get("/explore.json", params={"sign": sign, "unit": unit, "n": 5, "target": "house"}).json()
    scores = [each["score"] for each in found["filters"]["shown"]]
    assert scores and all(fits(score) for score in scores)  # type: ignore[operator]
    assert scores == sorted(scores, key=abs, reverse=True)
    peak = network.explainer("relu3", "one").activity.p95
    own = score_filters(network.subject.network, "relu3", (3, 32, 32), unit=1.0 if unit == "one" else peak)
    index, target = found["filters"]["shown"][0]["filter"], network.subject.classes.index("house")
    assert scores[0] == pytest.approx(float(own[target, index]), abs=1e-6)


def test_threshold_and_smoothing_change_the_circle_only(client: TestClient) -> None:
    pages = [client.get("/explore.json", params=p).json() for p in ({}, {"threshold": 0.9}, {"sigma": 0})]
    plain, *others = [page["filters"]["shown"][0] for page in pages]
    for other in others:
        assert other["encircled"] != plain["encircled"] and other["proportionate"] == plain["proportionate"]


def test_neighbours(client: TestClient, network: ExplainedNetwork) -> None:
    found = client.get("/explore.json").json()["neighbours"]
    known = network.neighbours
    assert known is not None
    with torch.no_grad():
        trunk = network.explainer("relu3", "one").split.trunk
        own = trunk(scale(network.subject.data.test.images[:1])).mean((2, 3))
        others = trunk(scale(network.subject.data.train.images)).mean((2, 3))
    distances = (others - own).norm(dim=1).sort()
    assert [each["distance"] for each in found["nearest"]] == pytest.approx(distances.values[:6].tolist(), rel=1e-3)
    labels = network.subject.data.train.labels[distances.indices[:6]]
    assert [each["label"] for each in found["nearest"]] == [network.subject.classes[int(i)] for i in labels]
    assert found["prototypes"][0]["class"] == found["prototype_class"]


def test_page_shows_what_its_json_says(client: TestClient) -> None:
    for query in ("", "image=test-5&second=gradient&sign=negative", "network=tiny&layer=relu1&target=fish"):
        page, found = client.get(f"/?{query}"), client.get(f"/explore.json?{query}").json()
        assert page.status_code == 200, page.text[-600:]
        assert page.headers["content-type"].startswith("text/html")
        names = set(re.findall(r"/picture/([0-9a-f]{32})\.png", page.text))
        assert {found[place]["picture"] for place in ("prediction", "first", "second", "control")} <= names
        assert all(client.get(f"/picture/{name}.png").status_code == 200 for name in names)
        assert f"{100 * found['network']['accuracy']:.1f} %" in page.text
        wrong = found["prediction"]["right"] is False
        assert ("The prediction is wrong" in page.text) == wrong
        assert "http://" not in page.text.replace("http://www.w3.org", "") and "https://" not in page.text


def test_every_method_has_a_map(client: TestClient, network: ExplainedNetwork) -> None:
    assert {"grad_cam", "lime", "rise", "lrp_epsilon", "occlusion", "centre"} <= set(attribution_methods())
    assert not {"two_generators", "two_generators_separate", "lrp"} & set(attribution_methods())
    dear = {"lime", "rise", "meaningful_perturbation"}  # thousands of passes
    for name in sorted(set(attribution_methods()) - dear):
        answer = client.get("/explore.json", params={"first": name, "n": 1})
        assert answer.status_code == 200, (name, answer.text)
        assert pixels(client, answer.json()["first"]["picture"]).shape == (224, 224, 3)


def test_second_time_from_the_cache(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    first = client.get("/explore.json?image=test-7").json()
    monkeypatch.setattr("xcnn.apps.explorer.explanations.filters", lambda *_: pytest.fail("computed again"))
    monkeypatch.setattr("xcnn.apps.explorer.explanations.attribution", lambda *_: pytest.fail("computed again"))
    again = client.get("/explore.json?image=test-7&network=tiny").json()
    assert {**again, "state": None} == {**first, "state": None}


def test_state_and_its_address() -> None:
    state = State(image="test-9", target="a&b=c/é", n=3, first="rise")
    assert State.parse(state.query()) == state
    assert State().query() == "" and "n=3" in state.query() and quote("a&b=c/é", safe="") in state.query()


def test_gallery(client: TestClient, network: ExplainedNetwork) -> None:
    page = client.get("/images?label=car&sign=negative")
    label = network.subject.classes.index("car")
    places = [i for i, each in enumerate(network.subject.data.test.labels.tolist()) if each == label]
    assert [int(i) for i in re.findall(r"/\?image=test-(\d+)&amp;sign=negative", page.text)] == [p for p in places if p]
    assert "no images" in client.get("/images?page=99").text


def test_upload_of_a_test_image_is_explained_as_that_image(client: TestClient, network: ExplainedNetwork) -> None:
    data = network.subject.data
    stream = io.BytesIO()
    Image.fromarray(data.test.images[11].permute(1, 2, 0).numpy()).save(stream, "PNG")
    answer = client.post("/upload", files={"file": ("a.png", stream.getvalue())}, data={"state": "n=2"})
    assert answer.status_code == 303 and re.fullmatch(r"/\?image=[0-9a-f]{32}&n=2", answer.headers["location"])
    found = client.get(answer.headers["location"].replace("/?", "/explore.json?")).json()
    original = client.get("/explore.json?image=test-11&n=2").json()
    assert found["prediction"]["classes"] == original["prediction"]["classes"]
    assert found["image"]["label"] is None and found["prediction"]["right"] is None
    assert found["image"]["hash"] == original["image"]["hash"]
    assert "is not known here" in client.get(answer.headers["location"]).text
