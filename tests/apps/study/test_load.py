"""The paper's size at once: 15 raters answer 250 images each as fast as they can, and the server is killed twice."""

import http.client
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.apps.study.studies import METHODS, design, items
from tests.apps.study.test_store import serving
from xcnn.metrics.human_study import SAME, vote_counts

RATERS, IMAGES, OTHERS = 15, 250, 2  # beside the images one for practice and one attention check
ANSWERS = (*map(str, range(len(METHODS))), SAME)
PATIENCE = 300  # seconds that a rater waits for a server that is starting, on a busy machine


class Rater:
    """Takes part over one connection, and sends again what was cut off; `sent` are the answers that were taken."""

    def __init__(self, port: int, number: int):
        self.port, self.number = port, number
        self.connection, self.cookie = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE), ""
        self.sent = dict[int, str]()

    def take_part(self, answered: Callable[[], None]) -> dict[int, str]:
        consent = urlencode({"version": "1", "agree": "yes"})
        self.cookie = self.ask("POST", "/study/maps/consent", consent)[1].split(";")[0]
        while (
            found := re.search(r'name="item" value="(\d+)"', self.ask("GET", "/study/maps/question")[0])
        ) is not None:
            item = int(found[1])
            assert item not in self.sent, "asked again what was answered"
            answer = ANSWERS[(self.number + item) % len(ANSWERS)]
            self.ask("POST", "/study/maps/answer", urlencode({"item": item, "answer": answer}))
            self.sent[item] = answer
            answered()
        return self.sent

    def ask(self, method: str, path: str, body: str = "") -> tuple[str, str]:
        """The page and its cookie; asked again while the server is down."""
        headers = {"cookie": self.cookie, "content-type": "application/x-www-form-urlencoded"}
        for _ in range(10 * PATIENCE):
            try:
                self.connection.request(method, path, body, headers)
                reply = self.connection.getresponse()
                text = reply.read().decode()
            except (OSError, http.client.HTTPException):
                self.connection.close()
                time.sleep(0.1)
                continue
            assert reply.status in (200, 303), (method, path, reply.status, text)
            return text, reply.getheader("set-cookie", "")
        raise AssertionError("the server does not come back")


def take_part_at_once(engine: Any, database: str) -> float:
    """Votes a second, of which none was lost or doubled though the server was killed at a third and at two thirds."""
    from sqlalchemy import func, select

    from xcnn.apps.study import store
    from xcnn.apps.study.tables import Answer, Item
    from xcnn.apps.study.votes import export

    store.create(engine, design(per_rater=IMAGES), items(images=IMAGES))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    total, answers, guard = RATERS * (IMAGES + OTHERS), [0], threading.Lock()

    def answered() -> None:
        with guard:
            answers[0] += 1

    server = serving(database, port)
    try:
        started = time.perf_counter()
        with ThreadPoolExecutor(RATERS) as pool:
            raters = [pool.submit(Rater(port, number).take_part, answered) for number in range(RATERS)]
            for kill_at in (total // 3, 2 * total // 3):
                while answers[0] < kill_at and not all(rater.done() for rater in raters):
                    time.sleep(0.02)
                os.kill(server.pid, signal.SIGKILL)
                server.wait()
                server = serving(database, port)
            sent = [rater.result() for rater in raters]
        seconds = time.perf_counter() - started
    finally:
        server.kill()
        server.wait()
    with engine.connect() as connection:
        kept = connection.scalar(select(func.count()).select_from(Answer))
        names = {row.image: row.id for row in connection.execute(select(Item.image, Item.id))}
    assert kept == sum(map(len, sent)) == total
    table = export(engine, "maps")
    assert len(table) == RATERS * IMAGES and sorted(set(table["rater"])) == list(range(RATERS))
    assert vote_counts(table, sorted(set(table["image"])), METHODS).sum() == RATERS * IMAGES
    given = [
        {
            names[row.image]: row.choice if row.choice == SAME else str(row.sides.split("|").index(row.choice))
            for row in of_rater.itertuples()
        }
        for _, of_rater in table.groupby("rater")
    ]
    images = set(map(names.get, table["image"]))
    by_items = lambda found: sorted(found.items())  # noqa: E731
    of_images = [{item: answer for item, answer in each.items() if item in images} for each in sent]
    assert sorted(map(by_items, given)) == sorted(map(by_items, of_images))  # raters' numbers are by who came first
    return total / seconds


@pytest.mark.slow
def test_fifteen_raters_of_250_images(engine: Any, record_property: Callable[[str, object], None]) -> None:
    votes = take_part_at_once(engine, engine.url.render_as_string())
    record_property("votes a second", votes)
    print(f"SQLite: {votes:.0f} votes a second")


def test_writers_come_in_the_order_in_which_they_asked() -> None:
    from xcnn.apps.study.database import Queue

    queue, order, threads = Queue(), list[int](), list[threading.Thread]()

    def write(number: int) -> None:
        with queue.turn(60):
            order.append(number)

    with queue.turn(60):
        for number in range(20):
            threads.append(threading.Thread(target=write, args=(number,)))
            threads[-1].start()
            while len(queue._waiting) <= number:
                time.sleep(0.001)
        assert order == []
    for thread in threads:
        thread.join()
    assert order == list(range(20))


def test_a_writer_that_waited_too_long_leaves_the_queue() -> None:
    from sqlalchemy.exc import TimeoutError as WaitedTooLong

    from xcnn.apps.study.database import Queue

    queue = Queue()
    with queue.turn(1), pytest.raises(WaitedTooLong), queue.turn(0.01):
        pytest.fail("two held it at once")
    with queue.turn(0.01):
        pass


def test_readers_do_not_wait_for_a_writer_and_see_nothing_half_done(engine: Any) -> None:
    from sqlalchemy import text

    from xcnn.apps.study import store
    from xcnn.apps.study.database import writing

    store.create(engine, design(), items())
    study = store.study_named(engine, "maps")
    assert study is not None
    rater = store.consent(engine, study, "1")
    question = store.next_question(engine, study, rater)
    assert question is not None
    with writing(engine) as session:
        session.execute(text("DELETE FROM tasks"))
        assert store.next_question(engine, study, rater) == question
        session.rollback()


def test_a_database_that_another_process_keeps_locked_is_said(engine: Any, browser: Any, tmp_path: Any) -> None:
    """A page that asks to send again, and no answer half kept."""
    import sqlite3

    from sqlalchemy import event

    from xcnn.apps.study import store

    store.create(engine, design(), items())
    client = browser()
    client.post("/study/maps/consent", data={"version": "1", "agree": "yes"})
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("PRAGMA busy_timeout=50"), insert=True)
    found = re.search(r'name="item" value="(\d+)"', client.get("/study/maps/question").text)
    assert found is not None
    answer = {"item": found[1], "answer": SAME}
    other = sqlite3.connect(tmp_path / "study.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    refused = client.post("/study/maps/answer", data=answer)
    assert refused.status_code == 503 and "send it again" in refused.text and "sqlite" not in refused.text.lower()
    other.execute("ROLLBACK")
    other.close()
    assert client.post("/study/maps/answer", data=answer).status_code == 200
