"""The database: its schema, its frozen design, many at once, and a server that is killed."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.apps.study.studies import METHODS, design, items
from xcnn.errors import UserError


def test_migrations_make_the_tables(engine: Any) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from xcnn.apps.study.tables import Base

    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_answers_are_named_as_the_metrics_name_them() -> None:
    from xcnn.apps.study import tables
    from xcnn.metrics import human_study

    assert (tables.SAME, tables.SCORES) == (human_study.SAME, human_study.SCORES)


def test_pages_are_served_without_torch() -> None:
    code = "import sys, xcnn.apps.study.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_design_is_frozen_by_its_hash(engine: Any) -> None:
    from xcnn.apps.study import store

    first = store.create(engine, design(), items())
    other = store.create(engine, design(name="other"), items())
    assert first != other
    study = store.study_named(engine, "maps")
    assert study is not None and study.design_hash == first
    with pytest.raises(UserError, match="already"):
        store.create(engine, design(), items())


def test_designs_that_cannot_be(engine: Any) -> None:
    from xcnn.apps.study import store

    for found, given, message in (
        (design(per_rater=7), items(), "6 images"),
        (design(name="a/b"), items(), "letters"),
        (design("models", name="m"), items(), "other pictures"),
        (design(), [*items(), *items()], "same name"),
    ):
        with pytest.raises(UserError, match=message):
            store.create(engine, found, given)
    assert store.studies(engine) == []


def test_many_at_once_lose_and_double_nothing(engine: Any) -> None:
    """Twelve raters consent and answer at the same time, each answer sent twice."""
    from xcnn.apps.study import store
    from xcnn.apps.study.votes import export

    store.create(engine, design(), items())
    study = store.study_named(engine, "maps")
    assert study is not None

    def take_part(_: int) -> list[str]:
        rater, outcomes = store.consent(engine, study, "1"), []
        while (question := store.next_question(engine, study, rater)) is not None:
            outcomes += [store.answer(engine, study, rater, question.item, "0") for _ in range(2)]
        return outcomes

    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(take_part, range(12)))
    assert outcomes == [["given", "given before"] * 8] * 12
    table = export(engine, "maps")
    assert len(table) == 72 and table["choice"].notna().all()
    assert sorted(set(table["rater"])) == list(range(12))
    left = table.groupby(["image", "choice"]).size()
    assert set(left) == {4}  # each image had each of three methods on the left four times: the sides are balanced


def test_read_votes_leaves_excluded_raters_out(engine: Any, tmp_path: Path) -> None:
    from xcnn.apps.study import store
    from xcnn.apps.study.votes import export, read_votes

    store.create(engine, design(), items())
    study = store.study_named(engine, "maps")
    assert study is not None
    for fails in (False, True):
        rater = store.consent(engine, study, "1")
        while (question := store.next_question(engine, study, rater)) is not None:
            right = next(str(k) for k in range(3) if _chosen(engine, question.pictures[k]) == METHODS[0])
            store.answer(engine, study, rater, question.item, "same" if fails else right)
    export(engine, "maps").to_csv(tmp_path / "votes.csv", index=False)
    for path in (tmp_path / "votes.csv", tmp_path / "study.db"):
        answers, images = read_votes(path, "maps")
        assert set(answers["choice"]) == {METHODS[0]} and len(answers) == len(images) == 6
        with pytest.raises(UserError, match="'other'"):
            read_votes(path, "other")


def _chosen(engine: Any, picture: str) -> str:
    from sqlalchemy import select

    from xcnn.apps.study.tables import Picture

    with engine.connect() as connection:
        return str(connection.execute(select(Picture.choice).where(Picture.id == picture)).scalar())


def test_address_that_is_none() -> None:
    from xcnn.apps.study.database import connect

    with pytest.raises(UserError, match="no address"):
        connect("study.db")


def serving(database: str, port: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "xcnn.apps.study", "--database", database, "serve", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(3000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return server
        assert server.poll() is None, "the server did not start"
        time.sleep(0.1)
    raise AssertionError("the server does not answer")


def take_part_through_kills(engine: Any, database: str) -> None:
    """Answers until the end while the server is killed twice; every answer that was acknowledged is kept, once."""
    import httpx

    from xcnn.apps.study import store
    from xcnn.apps.study.votes import export

    store.create(engine, design(), items())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = serving(database, port)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", follow_redirects=True, timeout=120) as client:
            client.post("/study/maps/consent", data={"version": "1", "agree": "yes"}).raise_for_status()
            acknowledged = []
            while True:
                page = client.get("/study/maps/question")
                found = re.search(r'name="item" value="(\d+)"', page.text)
                if found is None:
                    assert "Thank you" in page.text
                    break
                sent = client.post("/study/maps/answer", data={"item": found[1], "answer": "same"})
                assert sent.status_code == 200 and found[1] not in acknowledged
                acknowledged.append(found[1])
                if len(acknowledged) in (3, 6):
                    os.kill(server.pid, signal.SIGKILL)
                    server.wait()
                    server = serving(database, port)
        assert len(acknowledged) == 8
        table = export(engine, "maps")
        assert len(table) == 6 and (table["choice"] == "same").all()
    finally:
        server.kill()
        server.wait()


def test_a_killed_server_loses_nothing(engine: Any) -> None:
    take_part_through_kills(engine, engine.url.render_as_string())
