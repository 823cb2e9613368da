"""The shipped describers: each configuration makes its describer, and only what words depend on is part of a result."""

from pathlib import Path

import pytest
import torch

from xcnn.errors import UserError
from xcnn.fingerprint import differences
from xcnn.language import FilterEvidence, MeasuredDescriber, OpenAIDescriber, ReplayDescriber
from xcnn.language.replies import Replies, Reply
from xcnn.launch.compose import compose, settings
from xcnn.launch.subjects import Setup

MODEL = "describer.model=eyes"


def setup(*overrides: str, experiment: str = "deconvolve/words") -> Setup:
    return Setup(compose(experiment, [*overrides, "paths.runs=nowhere"]), overrides)


def test_measured_is_the_default_and_no_other_experiment_has_a_describer() -> None:
    assert isinstance(setup().describer, MeasuredDescriber)
    other = setup(experiment="deconvolve/ablation")
    assert "describer" not in other.settings
    with pytest.raises(UserError, match="this experiment has no describer"):
        _ = other.describer


def test_a_language_model_with_its_own_pictures_and_replies_that_were_kept(tmp_path: Path) -> None:
    pytest.importorskip("openai")
    asked = setup("describer=openai", MODEL, f"describer.journal={tmp_path / 'replies.jsonl'}").describer
    assert isinstance(asked, OpenAIDescriber) and asked.concurrency == 4
    evidence = FilterEvidence("relu", 0, torch.rand(3, 8, 8), torch.rand(4, 4), "a", "a", 0.1, ("a",), torch.ones(1))
    question = asked.question(evidence)
    assert [picture.shape for picture in question.pictures] == [(224, 224, 3)] * 2
    Replies(tmp_path / "replies.jsonl").add(question.key, Reply("A red wheel."))
    assert asked.describe(evidence).text == "A red wheel."  # known by then, so that no server is needed
    replayed = setup("describer=replay", MODEL, f"describer.replies={tmp_path / 'replies.jsonl'}").describer
    assert isinstance(replayed, ReplayDescriber) and replayed.describe(evidence).text == "A red wheel."
    with pytest.raises(UserError, match=r"which language model.*describer\.model=NAME"):
        _ = setup("describer=openai").describer


def test_a_result_depends_on_model_prompt_and_replies_and_not_on_the_server(tmp_path: Path) -> None:
    def stated(*overrides: str) -> dict[str, object]:
        return settings(compose("deconvolve/words", [*overrides, "paths.runs=nowhere"]))

    one = stated("describer=openai", MODEL)
    places = ("base_url=http://else/v1", "timeout=1.0", "max_retries=0", "concurrency=9", "journal=elsewhere")
    assert stated("describer=openai", MODEL, *(f"describer.{place}" for place in places)) == one
    own = tmp_path / "prompt.jinja"
    own.write_text("Say it.")
    with_own = stated("describer=openai", MODEL, f"describer.prompt={own}")
    assert [line.split(":")[0] for line in differences(one, with_own)] == [
        "describer.prompt.file",
        "describer.prompt.hash",
    ]
    own.write_text("Say it again.")
    assert stated("describer=openai", MODEL, f"describer.prompt={own}") != with_own
    kept = tmp_path / "replies.jsonl"
    kept.write_text("")
    replay = stated("describer=replay", MODEL, f"describer.replies={kept}")
    kept.write_text("{}")
    assert stated("describer=replay", MODEL, f"describer.replies={kept}") != replay
