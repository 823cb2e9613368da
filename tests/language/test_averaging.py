"""Semantic averaging: neutral filters, buckets, the sentence nearest to the centroid, a language model's."""

from pathlib import Path

import numpy as np
import pytest

from tests.language.chat_server import Chat, completion, prompt, running
from xcnn.errors import UserError
from xcnn.figures import evidence_pictures
from xcnn.language import OpenAIDescriber
from xcnn.language.averaging import LanguageModelAverage, Sentence, Side, extractive, semantic_average


def listed(sentences: list[Sentence], target: str, side: Side) -> Sentence:
    """All words, so that a test sees what went into an average."""
    filters = tuple(k for sentence in sentences for k in sentence.filters)
    words = "+".join(sentence.text for sentence in sentences)
    return Sentence(f"({words})", float(np.mean([s.score for s in sentences])), filters, filters)


def test_filters_go_into_buckets_by_sign_and_size() -> None:
    texts = {k: f"t{k}" for k in range(9)}
    scores = {0: 0.5, 1: -0.2, 2: 0.0009, 3: 0.3, 4: 0.2, 5: 0.1, 6: -0.4, 7: 0.05, 8: -0.0001}
    found = semantic_average(texts, scores, "bird", listed, 1e-3, 2)
    assert found.neutral == (2, 8)
    assert [(one.filters, one.text) for one in found.positive] == [
        ((0, 3, 4), "(t0+t3+t4)"),
        ((5, 7), "(t5+t7)"),
    ]
    assert [one.score for one in found.positive] == pytest.approx([1 / 3, 0.075])
    assert [(one.filters, one.score) for one in found.negative] == [((6,), -0.4), ((1,), -0.2)]
    assert found.text.splitlines() == [
        "For bird: ((t0+t3+t4)+(t5+t7))",
        "Against bird: ((t6)+(t1))",
        "Neutral: 2 filters with a score below 0.001.",
    ]


def test_a_side_without_filters_says_so() -> None:
    found = semantic_average({1: "a"}, {1: 0.2}, "cat", extractive)
    assert found.negative == () and found.summaries.keys() == {"for"}
    assert found.text == "For cat: a\nAgainst cat: no filter.\nNeutral: 0 filters with a score below 0.001."
    nothing = semantic_average({}, {}, "cat", extractive)
    assert nothing.text.splitlines()[0] == "For cat: no filter."
    with pytest.raises(UserError, match=r"filters \[3\] have a text and no score"):
        semantic_average({3: "a"}, {}, "cat", extractive)
    with pytest.raises(UserError, match="buckets must be at least 1, not 0"):
        semantic_average({3: "a"}, {3: 1}, "cat", extractive, buckets=0)


def test_the_extract_is_the_sentence_nearest_to_the_weighted_centroid() -> None:
    """Three sentences share two words, one of them with nothing besides; the last stands alone, until it outweighs."""
    texts = ("red wheel low", "red wheel", "blue wing", "red wheel big")

    def chosen(*scores: float) -> Sentence:
        sentences = [
            Sentence(text, score, (k,), (k,)) for k, (text, score) in enumerate(zip(texts, scores, strict=True))
        ]
        return extractive(sentences, "bird", "for")

    equal = chosen(0.1, 0.1, 0.1, 0.1)
    assert equal.text == "red wheel" and equal.named == (1,) and equal.filters == (0, 1, 2, 3)
    assert equal.score == pytest.approx(0.1)
    assert chosen(0.1, 0.1, 0.9, 0.1).text == "blue wing"
    assert chosen(-0.9, -0.1, -0.1, -0.1).text == "red wheel low"
    same = [Sentence("a word", score, (k,), (k,)) for k, score in enumerate((0.1, 0.3, 0.2))]
    assert extractive(same, "bird", "for").named == (1,)  # as near as the others, and the heaviest


def test_a_language_model_averages_with_the_weights(tmp_path: Path) -> None:
    pytest.importorskip("openai")
    with running(Chat(lambda request, n: completion(f" Average {n}. "))) as server:
        describer = OpenAIDescriber("eyes", evidence_pictures, server.url, tmp_path / "r", structured=False)
        average = LanguageModelAverage(describer)
        texts = {0: "A red\nwheel.", 1: "A wheel.", 2: "A wing."}
        found = semantic_average(texts, {0: 0.4, 1: 0.2, 2: -0.1}, "bird", average, buckets=1)
        again = semantic_average(texts, {0: 0.4, 1: 0.2, 2: -0.1}, "bird", average, buckets=1)
    assert found == again and len(server.questions) == 1  # a bucket of one sentence is that sentence
    asked = prompt(server.questions[0])
    assert "in the network's decision for bird" in asked
    assert asked.splitlines()[-2:] == ["0.4000: A red wheel.", "0.2000: A wheel."]
    assert len(server.questions[0]["messages"][0]["content"]) == 1  # no picture
    assert found.positive[0] == Sentence("Average 1.", pytest.approx(0.3), (0, 1), (0, 1))  # type: ignore[arg-type]
    assert found.text.startswith("For bird: Average 1.\nAgainst bird: A wing.")
