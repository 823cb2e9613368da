"""Votes on a page's two maps: blind, once for a rater and pair, in the study's database."""

import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the explorer needs fastapi")
pytest.importorskip("httpx", reason="fastapi's test client needs httpx")
pytest.importorskip("python_multipart", reason="uploads need python-multipart")

from fastapi.testclient import TestClient

from xcnn.apps.explorer.app import explorer
from xcnn.apps.explorer.loading import Networks
from xcnn.apps.study import pairs, store
from xcnn.apps.study.app import study_app
from xcnn.apps.study.database import connect
from xcnn.apps.study.votes import export, read_votes
from xcnn.errors import UserError
from xcnn.metrics.human_study import chosen_of_shown

METHODS = ("grad_cam", "lrp_epsilon")
STATE = "image=test-3&target=car"
ORIGIN = "http://127.0.0.1"


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    found = connect(f"sqlite:///{tmp_path / 'study.db'}")
    yield found
    found.dispose()


@pytest.fixture
def app(network: Any, engine: Any, tmp_path: Path) -> Any:
    return explorer(Networks({"tiny": network}), tmp_path / "uploads", votes=engine)


@pytest.fixture
def client(app: Any) -> TestClient:
    return browser(app)


def browser(app: Any) -> TestClient:
    return TestClient(app, base_url=ORIGIN, raise_server_exceptions=False, follow_redirects=False)


def vote(client: TestClient, answer: str, left: str = METHODS[0], state: str = STATE, **options: Any) -> Any:
    form = {"state": state, "left": left, "answer": answer, "version": pairs.CONSENT_VERSION, "agree": "yes"}
    return client.post("/vote", data=form, **options)


def table(engine: Any) -> list[tuple[str, str, int]]:
    found = export(engine, pairs.NAME)
    return list(zip(found["sides"], found["choice"], found["rater"], strict=True))


def test_blind_vote_from_page_to_export(client: TestClient, engine: Any, tmp_path: Path) -> None:
    page = client.get(f"/?{STATE}").text
    link = re.search(r'href="(/vote\?[^"]*)"', page)
    assert link is not None
    found = client.get(link[1].replace("&amp;", "&"))
    assert found.status_code == 200 and "Grad-CAM" not in found.text and "LRP" not in found.text
    left = re.search(r'name="left" value="(\w+)"', found.text)
    assert left is not None and left[1] in METHODS
    shown = client.get(f"/explore.json?{STATE}").json()
    maps = re.findall(r'/picture/(\w+)\.png" alt="Map [AB]"', found.text)
    right = METHODS[1 - METHODS.index(left[1])]
    of = {shown[place]["method"]: shown[place]["picture"] for place in ("first", "second")}
    assert maps == [of[left[1]], of[right]]
    answer = vote(client, "1", left[1])
    assert answer.status_code == 200 and f"You chose: {shown['first']['title']}".split(":")[0] in answer.text
    assert table(engine) == [(f"{left[1]}|{right}", right, 0)]
    answers, images = read_votes(tmp_path / "study.db", pairs.NAME)
    assert images == [
        f"tiny/{shown['network']['weights'][:12]}/relu3/car/{shown['image']['hash']}:grad_cam|lrp_epsilon"
    ]
    chosen, both, _ = chosen_of_shown(answers, METHODS)
    assert (chosen.tolist(), both.tolist()) == ([METHODS.index(right)], [[True, True]])


def test_sides_are_by_chance(client: TestClient) -> None:
    left = [re.search(r'name="left" value="(\w+)"', client.get(f"/vote?{STATE}").text)[1] for _ in range(24)]  # type: ignore[index]
    assert set(left) == set(METHODS)


def test_one_vote_a_rater_and_pair(client: TestClient, app: Any, engine: Any) -> None:
    assert vote(client, "0").status_code == 200
    assert vote(client, "0").status_code == 200  # sent again
    refused = vote(client, "1")
    assert refused.status_code == 409 and "first vote is kept" in refused.text
    swapped = f"{STATE}&first={METHODS[1]}&second={METHODS[0]}"
    assert vote(client, "same", state=swapped).status_code == 409  # the same pair the other way round
    assert vote(client, "same", state=f"{STATE}&second=gradient").status_code == 200
    assert vote(client, "1", state="image=test-4&target=car").status_code == 200
    assert vote(browser(app), "1").status_code == 200
    assert [each[1:] for each in table(engine)] == [
        ("grad_cam", 0), ("same", 0), ("lrp_epsilon", 0), ("lrp_epsilon", 1),
    ]  # fmt: skip


def test_no_vote_without_agreement(client: TestClient, engine: Any) -> None:
    form = {"state": STATE, "left": METHODS[0], "answer": "0"}
    assert client.post("/vote", data=form).status_code == 422
    old = client.post("/vote", data={**form, "agree": "yes", "version": "0"})
    assert old.status_code == 422 and "changed" in old.text
    assert table(engine) == [] and not client.cookies
    vote(client, "0")
    assert client.post("/vote", data={**form, "state": "image=test-5"}).status_code == 200  # agreed before


@pytest.mark.parametrize("forged", ["1", "1." + "0" * 40, "2.x", "admin"])
def test_a_forged_cookie_is_nobodys(client: TestClient, app: Any, engine: Any, forged: str) -> None:
    vote(client, "0")
    (name,) = client.cookies.keys()
    headers = {"cookie": f"{name}={forged}"}
    form = {"state": STATE, "left": METHODS[0], "answer": "1"}
    assert browser(app).post("/vote", data=form, headers=headers).status_code == 422
    assert browser(app).post("/vote/withdraw", headers=headers).status_code == 403
    assert [each[1] for each in table(engine)] == ["grad_cam"]


def test_withdrawal(client: TestClient, app: Any, engine: Any) -> None:
    vote(client, "0")
    vote(browser(app), "1")
    cookies = dict(client.cookies)
    assert client.post("/vote/withdraw").headers["location"] == "/vote/withdrawn"
    assert "deleted" in client.get("/vote/withdrawn").text
    assert [each[1:] for each in table(engine)] == [("lrp_epsilon", 1)]
    client.cookies.update(cookies)
    form = {"state": STATE, "left": METHODS[0], "answer": "1"}
    assert client.post("/vote", data=form).status_code == 422  # agrees anew, or does not vote
    study = pairs.opened(engine)
    ballot = pairs.Ballot("image", "car", METHODS)
    with pytest.raises(UserError, match="withdrawn"):
        pairs.vote(engine, study, 1, ballot, METHODS[0])


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "cross-site"}, {"origin": "http://evil.example"}])
def test_a_vote_from_another_site(client: TestClient, engine: Any, headers: dict[str, str]) -> None:
    assert vote(client, "0", headers=headers).status_code == 403
    assert table(engine) == []


@pytest.mark.parametrize(
    "change",
    [
        {"answer": "2"},
        {"answer": ""},
        {"left": "lime"},
        {"left": "../../etc/passwd"},
        {"state": "image=../../etc/passwd"},
        {"state": f"{STATE}&target=<script>"},
        {"state": f"{STATE}&first=lrp_epsilon"},
        {"state": f"{STATE}&second=../x"},
        {"state": "x" * 3000},
    ],
)
def test_votes_that_cannot_be(client: TestClient, engine: Any, change: dict[str, str]) -> None:
    form = {"state": STATE, "left": METHODS[0], "answer": "0", "version": pairs.CONSENT_VERSION, "agree": "yes"}
    answer = client.post("/vote", data={**form, **change})
    assert answer.status_code == 422 and "<script" not in answer.text and "Traceback" not in answer.text
    assert table(engine) == []


def test_the_studys_pages_leave_it_to_the_explorer(client: TestClient, engine: Any) -> None:
    vote(client, "0")
    study = pairs.opened(engine)
    pages = TestClient(study_app(engine), base_url=ORIGIN, raise_server_exceptions=False)
    assert pages.get(f"/study/{pairs.NAME}").status_code == 404
    assert pairs.NAME not in pages.get("/").text
    progress = pages.get(f"/study/{pairs.NAME}/admin/{store.signed(study, 'admin')}")
    assert progress.status_code == 200 and "1 of 1 answers" in progress.text
    exported = pages.get(f"/study/{pairs.NAME}/admin/{store.signed(study, 'admin')}/export.csv")
    assert "grad_cam|lrp_epsilon" in exported.text


def test_opened_once(engine: Any) -> None:
    first, second = pairs.opened(engine), pairs.opened(engine)
    assert (first.id, first.secret) == (second.id, second.secret)
