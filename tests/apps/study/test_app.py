"""The study from consent to export, and what it refuses."""

import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.apps.study.studies import METHODS, MODELS, design, items, png
from xcnn.metrics.human_study import SAME, model_comparison, vote_counts

Browser = Callable[[], Any]


def create(engine: Any, kind: str = "maps", **options: Any) -> Any:
    from xcnn.apps.study import store

    found = design(kind, **options)  # type: ignore[arg-type]
    store.create(engine, found, items(found.choices))
    return store.study_named(engine, found.name)


def join(client: Any, name: str = "maps") -> Any:
    client.get(f"/study/{name}")
    return client.post(f"/study/{name}/consent", data={"version": "1", "agree": "yes"})


def asked(client: Any, name: str = "maps") -> tuple[int, list[str], str] | None:
    """The item, its maps' pictures and its title; None at the end."""
    page = client.get(f"/study/{name}/question")
    assert page.status_code == 200
    found = re.search(r'name="item" value="(\d+)"', page.text)
    if found is None:
        assert "Thank you" in page.text
        return None
    title = re.search(r"<h1>(.*)</h1>", page.text)
    assert title is not None
    return int(found[1]), re.findall(r"/picture/([\w-]+)", page.text)[1:], title[1]


def choose(client: Any, item: int, answer: str, name: str = "maps", **options: Any) -> Any:
    return client.post(
        f"/study/{name}/answer", data={"item": item, "answer": answer}, follow_redirects=False, **options
    )


def place_of(client: Any, pictures: list[str], choice: str) -> str:
    """On which side a choice is shown: the test knows the pictures, a rater does not."""
    wanted = png(1 + METHODS.index(choice))
    return str([client.get(f"/picture/{picture}").content for picture in pictures].index(wanted))


def exported(client: Any, study: Any) -> pd.DataFrame:
    from xcnn.apps.study import store

    reply = client.get(f"/study/{study.name}/admin/{store.signed(study, 'admin')}/export.csv")
    assert reply.status_code == 200
    return pd.read_csv(io.StringIO(reply.text))


def test_several_raters_from_consent_to_counts(engine: Any, browser: Browser) -> None:
    """Three raters of known answers; the export is what `vote_counts` reads, and counts what they chose."""
    study = create(engine)
    expected: dict[str, list[str]] = {}
    for rater, favourite in enumerate(METHODS):
        client = browser()
        assert "Look &lt;b&gt;well&lt;/b&gt;" in join(client).text  # instructions, escaped
        answered = 0
        while (question := asked(client)) is not None:
            item, pictures, title = question
            check = title == "class of 1"
            choice = SAME if rater == 2 and title == "class of 5" else METHODS[0] if check else favourite
            given = choice if choice == SAME else place_of(client, pictures, choice)
            assert choose(client, item, given).status_code == 303
            if title not in ("class of 0", "class of 1"):
                expected.setdefault(f"image{title.removeprefix('class of ')}", []).append(choice)
            answered += 1
        assert answered == 8
    table = exported(browser(), study)
    assert len(table) == 18 and not table["excluded"].any() and table["seconds"].ge(0).all()
    images = sorted(expected)
    counts = vote_counts(table, images, METHODS)
    assert counts.sum() == 18
    np.testing.assert_array_equal(counts, [[expected[i].count(c) for c in (*METHODS, SAME)] for i in images])


def test_scores_of_two_models_are_the_first_ones(engine: Any, browser: Browser) -> None:
    study = create(engine, "models", name="models")
    client = browser()
    join(client, "models")
    while (question := asked(client, "models")) is not None:
        item, pictures, _ = question
        left = client.get(f"/picture/{pictures[0]}").content == png(1)  # always for the first model
        assert choose(client, item, "2" if left else "-2", "models").status_code == 303
    table = exported(browser(), study)
    assert set(table["left"]) == set(MODELS)
    found = model_comparison(table, sorted(set(table["image"])), MODELS)
    assert (found.score.mean, found.images) == (2, 6)
    assert table["excluded"].all()  # the check's two maps are the same, and its score was not 0


def test_unanswered_images_are_exported_as_missing(engine: Any, browser: Browser) -> None:
    study = create(engine)
    client = browser()
    join(client)
    for _ in range(2):  # practice, and the first image
        question = asked(client)
        assert question is not None
        choose(client, question[0], "same")
    table = exported(browser(), study)
    assert len(table) == 6 and table["choice"].notna().sum() == 1


def test_an_answer_again_changes_nothing_and_another_is_refused(engine: Any, browser: Browser) -> None:
    study = create(engine)
    client = browser()
    join(client)
    asked(client)
    first = asked(client)
    assert first is not None
    choose(client, first[0], "0")
    second = asked(client)
    assert second is not None
    assert choose(client, second[0], "1").status_code == 303
    assert choose(client, second[0], "1").status_code == 303
    refused = choose(client, second[0], "same")
    assert refused.status_code == 409 and "first answer is kept" in refused.text
    table = exported(browser(), study)
    assert table["choice"].notna().sum() == 1 and SAME not in set(table["choice"])


def test_resume_by_the_signed_link(engine: Any, browser: Browser) -> None:
    create(engine)
    client = browser()
    link = re.search(r'href="(http://localhost/study/maps/resume/[^"]+)"', join(client).text)
    assert link is not None
    question = asked(client)
    assert question is not None
    choose(client, question[0], "same")
    other = browser()
    assert other.get(link[1]).status_code == 200
    assert asked(other) == asked(client) != question
    assert browser().get(link[1][:-1] + ("0" if link[1][-1] != "0" else "1")).status_code == 404


@pytest.mark.parametrize("forged", ["1", "1.", "1." + "0" * 40, "2.x", "admin", "é"])
def test_forged_cookie(engine: Any, browser: Browser, forged: str) -> None:
    create(engine)
    client = browser()
    join(client)
    (name,) = client.cookies.keys()
    question = asked(client)
    assert question is not None
    headers = {"cookie": f"{name}={forged}".encode()}
    assert choose(browser(), question[0], "same", headers=headers).status_code == 403
    assert asked(client) == question


def test_cookie_of_another_study_and_of_the_administrator(engine: Any, browser: Browser) -> None:
    from xcnn.apps.study import store

    study, other = create(engine), create(engine, name="other")
    client = browser()
    join(client)
    (name,) = client.cookies.keys()
    for token in (store.signed(other, "1"), store.signed(study, "admin")):
        assert browser().get("/study/maps/question", headers={"cookie": f"{name}={token}"}).status_code == 403
    page = f"/study/maps/admin/{store.signed(study, '1')}"
    assert browser().get(page).status_code == 404
    assert browser().get(f"{page}/export.csv").status_code == 404


def test_posts_from_another_site_are_refused(engine: Any, browser: Browser) -> None:
    create(engine)
    client = browser()
    join(client)
    question = asked(client)
    assert question is not None
    for headers in ({"sec-fetch-site": "cross-site"}, {"origin": "http://elsewhere.example"}):
        assert choose(client, question[0], "same", headers=headers).status_code == 403
    assert asked(client) == question


def test_withdrawal_deletes_the_answers(engine: Any, browser: Browser) -> None:
    from xcnn.apps.study import store

    study = create(engine)
    client, stays = browser(), browser()
    for each in (client, stays):
        join(each)
        question = asked(each)
        assert question is not None
        choose(each, question[0], "same")
    token = store.signed(study, "1")
    assert "deleted" in client.post("/study/maps/withdraw").text
    assert client.get("/study/maps/question").status_code == 403
    assert browser().get(f"/study/maps/resume/{token}").status_code == 403
    table = exported(browser(), study)
    assert set(table["rater"]) == {1}
    first, second = store.progress(engine, study)
    assert (first["withdrawn"], first["tasks"], first["answered"]) == (True, 0, 0)
    assert (second["withdrawn"], second["answered"]) == (False, 1)
    join(browser())
    assert [line["rater"] for line in store.progress(engine, study)] == [0, 1, 2]  # the place is not filled again


def test_consent_is_needed_and_is_of_the_present_version(engine: Any, browser: Browser) -> None:
    create(engine)
    client = browser()
    assert client.get("/study/maps/question").status_code == 403
    assert client.post("/study/maps/consent", data={"version": "1"}).status_code == 422
    old = client.post("/study/maps/consent", data={"version": "0", "agree": "yes"})
    assert old.status_code == 422 and "changed" in old.text
    assert not client.cookies


def test_answers_that_cannot_be(engine: Any, browser: Browser) -> None:
    create(engine)
    create(engine, "models", name="models")
    client = browser()
    join(client)
    question = asked(client)
    assert question is not None
    for answer in ("3", "-1", "grad_cam", ""):
        assert choose(client, question[0], answer).status_code == 422
    assert choose(client, 9999, "same").status_code == 422
    assert client.post("/study/maps/answer", data={"item": "x", "answer": "same"}).status_code == 422
    for path in ("/study/../../etc/passwd", "/study/none", "/picture/..%2f..%2fetc%2fpasswd", "/picture/none"):
        assert client.get(path).status_code == 404
    assert asked(client) == question


def test_pages_hide_the_methods(engine: Any, browser: Browser) -> None:
    create(engine)
    client = browser()
    pages = [join(client).text, client.get("/study/maps").text, client.get("/study/maps/question").text]
    assert not [name for name in METHODS for page in pages if name in page]


def test_traversal_and_script_in_every_parameter(engine: Any, browser: Browser) -> None:
    from xcnn.apps.study import store

    study = create(engine)
    client = browser()
    join(client)
    question = asked(client)
    assert question is not None
    token = store.signed(study, "admin")
    for evil in ("..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd", "<script>alert(1)</script>", "%00", "a" * 5000):
        for path in (
            f"/study/{evil}",
            f"/study/{evil}/question",
            f"/study/{evil}/admin/{token}",
            f"/study/maps/admin/{evil}",
            f"/study/maps/admin/{evil}/export.csv",
            f"/study/maps/resume/{evil}",
            f"/picture/{evil}",
            f"/static/{evil}",
        ):
            reply = client.get(path)
            assert reply.status_code == 404, path
            assert "<script" not in reply.text and "root:" not in reply.text and "Traceback" not in reply.text
        for form in ({"item": evil, "answer": "same"}, {"item": question[0], "answer": evil}):
            reply = client.post("/study/maps/answer", data=form)
            assert reply.status_code == 422 and "<script" not in reply.text
        reply = browser().post("/study/maps/consent", data={"version": evil, "agree": "yes"})
        assert reply.status_code == 422 and "<script" not in reply.text
    assert asked(client) == question


def test_script_in_what_a_study_says(engine: Any, browser: Browser) -> None:
    from dataclasses import replace

    from xcnn.apps.study import store

    script = "<script>alert(1)</script>"
    found = replace(design(), consent=script, instructions=script, question=script)
    store.create(engine, found, [replace(each, title=script) for each in items()])
    client = browser()
    pages = [client.get("/study/maps"), join(client), client.get("/study/maps/question")]
    assert all("<script" not in page.text and "&lt;script&gt;" in page.text for page in pages)


def test_large_bodies_and_broken_pages(engine: Any, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    create(engine)
    client = browser()
    join(client)
    assert client.post("/study/maps/answer", content=bytes(50 * 2**20)).status_code == 413

    def broken(*_: object) -> None:
        raise RuntimeError("the secret of line 40")

    monkeypatch.setattr("xcnn.apps.study.store.next_question", broken)
    reply = client.get("/study/maps/question")
    assert reply.status_code == 500 and "secret" not in reply.text and "Traceback" not in reply.text
    assert client.get("/study/maps", headers={"host": "rebound.example"}).status_code == 400
