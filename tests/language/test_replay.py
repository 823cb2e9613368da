"""Replies that were kept: the same words without a server, and a clear error for a question that was never asked."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.language.chat_server import Chat, completion, running
from xcnn.errors import UserError
from xcnn.figures import evidence_pictures
from xcnn.language import FilterEvidence, OpenAIDescriber, ReplayDescriber

pytest.importorskip("openai")


def test_kept_replies_are_all_there_is(tmp_path: Path, random_evidence: Callable[[int], FilterEvidence]) -> None:
    journal = tmp_path / "replies.jsonl"
    with running(Chat(lambda request, n: completion(f"A green wing, number {n}."))) as server:
        asked = OpenAIDescriber("eyes", evidence_pictures, server.url, journal)
        said = [asked.describe(random_evidence(seed)) for seed in range(3)]
    replay = ReplayDescriber(journal, "eyes", evidence_pictures, base_url=None, journal=None, concurrency=1)
    for seed, one in enumerate(said):
        again = replay.describe(random_evidence(seed))
        assert (again.text, again.claims, again.prompt_hash) == (one.text, one.claims, one.prompt_hash)
        assert again.provider == "replay"
    with pytest.raises(UserError, match=r"has no reply of eyes to this question .*describer=openai"):
        replay.describe(random_evidence(3))
    for settings in ({"prompt": "informed"}, {"temperature": 1.0}, {"seed": 2}):
        with pytest.raises(UserError, match="has no reply"):
            ReplayDescriber(journal, "eyes", evidence_pictures, **settings).describe(random_evidence(0))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no file of replies"):
        ReplayDescriber(tmp_path / "nothing", "eyes", evidence_pictures)
