"""The client against a real server: words come out, every fault gives one message, nothing is lost or asked twice."""

import json
import logging
import multiprocessing
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.language.chat_server import WORDS, Answer, Chat, completion, pictures, prompt, running
from xcnn.errors import UserError
from xcnn.figures import evidence_pictures
from xcnn.language import Claim, FilterEvidence, OpenAIDescriber, describe_all, verify
from xcnn.language.replies import Replies, Reply

pytest.importorskip("openai")
KEY = "sk-a-key-that-is-secret"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def some(random_evidence: Callable[[int], FilterEvidence]) -> list[FilterEvidence]:
    return [random_evidence(seed) for seed in range(6)]


def client(server: Chat, folder: Path, **changes: Any) -> OpenAIDescriber:
    values: dict[str, Any] = {"timeout": 5, "max_retries": 1, "concurrency": 1, **changes}
    return OpenAIDescriber("eyes", evidence_pictures, server.url, folder / "replies.jsonl", **values)


def always(answer: Answer) -> Callable[[dict[str, Any], int], Answer]:
    return lambda request, n: answer


def test_pictures_go_in_and_words_come_out(tmp_path: Path, some: list[FilterEvidence]) -> None:
    with running(Chat(always(completion()))) as server:
        describer = client(server, tmp_path)
        found = describer.describe(some[0])
    (asked,) = server.questions
    assert {name: asked[name] for name in ("model", "temperature", "max_tokens", "seed")} == {
        "model": "eyes",
        "temperature": 0.0,
        "max_tokens": 200,
        "seed": 0,
    }
    drawn = evidence_pictures(some[0].image, some[0].activation)
    assert len(drawn) == 2 and all((a == b).all() for a, b in zip(pictures(asked), drawn, strict=True))
    assert found.text == WORDS and (found.provider, found.model) == ("openai", "eyes")
    assert found.claims == (
        Claim("position", "bottom left"),
        Claim("colour", "red"),
        Claim("part", "wheel"),
        Claim("class", "bird"),
    )
    assert found.evidence_hash == some[0].evidence_hash
    assert len(verify(found, some[0])) == 4
    assert describer.counts == {"asked": 1, "kept": 0, "prompt_tokens": 50, "completion_tokens": 7}
    assert [len(pictures(check)) for check in server.checks] == [0, 1]


def test_the_blind_prompt_tells_nothing_and_the_informed_one_all(tmp_path: Path, some: list[FilterEvidence]) -> None:
    evidence = some[3]  # classes with an AUROC above 0.7 among them
    with running(Chat(always(completion()))) as server:
        for name in ("blind", "informed"):
            client(server, tmp_path, prompt=name).describe(evidence)
        own = tmp_path / "own.txt"
        own.write_text("Say {{ evidence.filter }}.")
        client(server, tmp_path, prompt=str(own)).describe(evidence)
        with pytest.raises(UserError, match="there is no prompt 'kind'; there are: blind, informed, or the path"):
            client(server, tmp_path, prompt="kind")
    blind, informed, third = map(prompt, server.questions)
    told = (evidence.predicted, evidence.target, f"{evidence.score:+.4f}")
    assert all(word in informed for word in told) and not any(word in blind for word in told)
    assert informed.startswith(blind) and third == "Say 7."
    firing = [name for name, value in zip(evidence.classes, evidence.auroc, strict=True) if value >= 0.7]
    assert firing and all(name in informed.partition("fires most for")[2] for name in firing)


def test_a_structured_reply_is_read_by_its_fields(tmp_path: Path, some: list[FilterEvidence]) -> None:
    reply = {
        "description": " A wing. ",
        "position": "upper right",
        "colours": ["Gray"],
        "objects": ["bird"],
        "parts": [],
    }
    text = json.dumps(reply)
    with running(Chat(always(completion(text)), check=lambda n: completion(text, 10 + n))) as server:
        describer = client(server, tmp_path, structured=True)
        found = describer.describe(some[0])
        server.answer = always(completion('{"description": "x"}'))
        with pytest.raises(UserError, match=r"does not fit the schema .*describer.structured=false"):
            describer.describe(some[1])
    assert found.text == "A wing."
    assert found.claims == (Claim("position", "top right"), Claim("colour", "grey"), Claim("class", "bird"))
    assert server.questions[0]["response_format"]["json_schema"]["schema"]["required"] == [*reply]


@pytest.mark.parametrize(
    ("check", "structured", "message"),
    [
        (
            lambda n: completion("red", 10),
            False,
            "eyes at .* does not look at pictures: a prompt has 10 tokens without",
        ),
        (lambda n: completion("red", None), False, "says nothing of tokens"),
        (lambda n: completion("red", 10 + n), True, "passes over the schema .*'red'.*: describer.structured=false"),
    ],
)
def test_what_a_server_passes_over_in_silence_is_noticed_before_the_first_question(
    tmp_path: Path, some: list[FilterEvidence], check: Callable[[int], Answer], structured: bool, message: str
) -> None:
    with (
        running(Chat(always(completion()), check)) as server,
        pytest.raises(UserError, match=message),
    ):
        client(server, tmp_path, structured=structured).describe(some[0])
    assert len(server.checks) == 2 and not server.questions


@pytest.mark.parametrize(
    ("answer", "asked", "message"),
    [
        (
            Answer(f"Incorrect API key provided: {KEY}", 401),
            1,
            r"answers 401 \(Incorrect .*: \(the key\)\); set OPENAI",
        ),
        (Answer('{"detail": "no model eyes"}', 400), 1, r'answers 400 .*"no model eyes".*; look at describer.model'),
        (Answer('{"detail": "unknown"}', 422), 1, "answers 422 .*unknown.*; it does not know a field"),
        (Answer("Not Found", 404), 1, "answers 404 .*; look at describer.base_url"),
        (Answer("slow down", 429), 2, "answers 429 .*; it was asked 2 times"),
        (Answer("bad picture", 500, {"Content-Type": "text/plain"}), 2, "answers 500 .bad picture.; it failed 2 times"),
        (Answer('{"choices": ['), 1, "answers what is no completion"),
        (Answer("<html>"), 1, "answers what is no completion .<html>."),
        (Answer('{"choices": []}'), 1, "answers without any choice"),
        (completion("half a sen", finish="length"), 1, "cut its reply off at 200 tokens; describer.max_tokens"),
        (completion(None), 1, "replies nothing"),
        (Answer(completion().body, die=True), 2, "cannot be reached, or broke off"),
        (Answer(completion().body, wait=0.6), 2, "did not answer within 0.3 s, 2 times; describer.timeout"),
    ],
)
def test_each_fault_gives_one_message_and_no_words(
    tmp_path: Path, some: list[FilterEvidence], answer: Answer, asked: int, message: str
) -> None:
    with running(Chat(always(answer))) as server:
        describer = client(server, tmp_path, timeout=0.3 if answer.wait else 5)
        with pytest.raises(UserError, match=message) as caught:
            describer.describe(some[0])
    assert len(server.questions) == asked
    assert KEY not in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "replies.jsonl").exists()


def test_a_server_that_is_not_there(tmp_path: Path, some: list[FilterEvidence]) -> None:
    with running(Chat(always(completion()))) as server:
        describer = client(server, tmp_path, max_retries=0)
    with pytest.raises(UserError, match=r"cannot be reached, or broke off \(.*\); start it"):
        describer.describe(some[0])


@pytest.mark.parametrize(("status", "waits"), [(429, None), (429, 1), (500, None), (503, 1)])
def test_a_busy_server_is_asked_again_after_a_while(
    tmp_path: Path, some: list[FilterEvidence], status: int, waits: int | None
) -> None:
    def answer(request: dict[str, Any], n: int) -> Answer:
        return Answer("busy", status, {} if waits is None else {"Retry-After": str(waits)}) if n < 3 else completion()

    with running(Chat(answer)) as server:
        started = time.monotonic()
        found = client(server, tmp_path, max_retries=2).describe(some[0])
    waited = time.monotonic() - started
    assert found.text == WORDS and len(server.questions) == 3
    assert waited > (2 * waits if waits else 0.5)


def test_after_a_fault_only_the_rest_is_asked(tmp_path: Path, some: list[FilterEvidence]) -> None:
    def answer(request: dict[str, Any], n: int) -> Answer:
        return Answer("no", 400) if n == 4 else completion(f"Word {n}.")

    with running(Chat(answer)) as server:
        with pytest.raises(UserError, match="answers 400"):
            describe_all(client(server, tmp_path), some)
        assert len(server.questions) == 4
        again = client(server, tmp_path)
        found = describe_all(again, some)
        assert again.counts["asked"] == 3 and again.counts["kept"] == 3
        last = client(server, tmp_path)
        assert describe_all(last, some) == found
    assert [one.text for one in found] == ["Word 1.", "Word 2.", "Word 3.", "Word 5.", "Word 6.", "Word 7."]
    assert len(server.questions) == 7 and len(server.checks) == 4  # the last describer had nothing to ask


def test_questions_at_a_time_are_bounded_and_equal_ones_asked_once(tmp_path: Path, some: list[FilterEvidence]) -> None:
    with running(Chat(always(Answer(completion().body, wait=0.05)))) as server:
        found = describe_all(client(server, tmp_path, concurrency=3), [*some, *some])
    assert 1 < server.most <= 3
    assert len(server.questions) == len(some) and found[:6] == found[6:]


def test_the_first_fault_ends_what_waits(tmp_path: Path, some: list[FilterEvidence]) -> None:
    def answer(request: dict[str, Any], n: int) -> Answer:
        return Answer("no", 400) if n == 1 else Answer(completion().body, wait=0.2)

    with running(Chat(answer)) as server, pytest.raises(UserError, match="answers 400"):
        describe_all(client(server, tmp_path, concurrency=2), some)
    assert len(server.questions) <= 3


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, some: list[FilterEvidence]) -> None:
    """The server holds back its third reply; the process is killed; what it knew by then is not asked again."""
    journal, held, over = tmp_path / "replies.jsonl", threading.Event(), threading.Event()

    def answer(request: dict[str, Any], n: int) -> Answer:
        if n == 3:
            held.set()
            over.wait(120)
        return completion(f"w{n}")

    def run() -> None:
        torch.set_num_threads(1)  # a fork must not wait for threads that it does not have
        describe_all(client(server, tmp_path, timeout=120), some[:4])

    server = Chat(answer)  # listens from now on, and answers from `running` on: no thread of it is forked
    first = multiprocessing.get_context("fork").Process(target=run)
    first.start()
    with running(server):
        assert held.wait(120)
        first.kill()
        first.join()
        assert len(journal.read_text().splitlines()) == 2
        with journal.open("a") as stream:
            stream.write('{"key": "torn in the mid')
        second = client(server, tmp_path)
        found = describe_all(second, some[:4])
        over.set()
    assert [each.text for each in found] == ["w1", "w2", "w4", "w5"] and second.counts["asked"] == 2
    assert len(server.questions) == 5


def test_the_key_goes_to_the_server_and_nowhere_else(
    tmp_path: Path, some: list[FilterEvidence], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with running(Chat(always(completion()))) as server:
        describer = client(server, tmp_path)
        found = describer.describe(some[0])
    assert set(server.keys) == {f"Bearer {KEY}"}
    written = (tmp_path / "replies.jsonl").read_text() + caplog.text + json.dumps(found.to_dict()) + repr(describer)
    assert caplog.text and KEY not in written


def test_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"describer\.model=NAME"):
        OpenAIDescriber(None, evidence_pictures, "http://127.0.0.1:1/v1", tmp_path / "replies.jsonl")


def test_replies_of_another_process_are_seen_and_what_is_no_reply_is_named(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    one, other = Replies(path), Replies(path)
    assert other.get("a") is None
    one.add("a", Reply("word", 1, 2))
    assert other.get("a") == Reply("word", 1, 2)
    other.add("b", Reply("more"))
    assert one.get("b") == Reply("more") and one.get("c") is None
    with path.open("a") as stream:
        stream.write('{"a": 1}\n')
    with pytest.raises(UserError, match="has a line that is no reply"):
        one.get("c")


def test_a_question_is_known_by_all_that_the_reply_depends_on(tmp_path: Path, some: list[FilterEvidence]) -> None:
    def key(model: str = "eyes", evidence: FilterEvidence = some[0], **settings: Any) -> str:
        describer = OpenAIDescriber(model, evidence_pictures, "http://127.0.0.1:1/v1", tmp_path / "r", **settings)
        return describer.question(evidence).key

    changed = [
        key("other"),
        key(evidence=some[1]),
        key(temperature=0.5),
        key(seed=1),
        key(max_tokens=9),
        key(prompt="informed"),
        key(structured=True),
    ]
    assert len({key(), *changed}) == 8
    assert key(concurrency=9, timeout=1.0, max_retries=0) == key()
    torch.manual_seed(0)
    assert key() == key()
