"""People's answers, and votes of the explorer beside a planned study's."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments.pixel_ablation_cam.human_study import people
from tests.evaluation.test_human_study import METHODS, answers_of
from xcnn.metrics.human_study import SAME


@pytest.mark.parametrize("studies", ["maps", ["maps", "explorer"]])
def test_votes_of_the_explorer_count_in_the_strengths_alone(tmp_path: Path, studies: Any) -> None:
    generator = np.random.default_rng(0)
    table = answers_of(
        {f"{rater}": list(generator.choice([*METHODS, SAME], 30, p=[0.2, 0.3, 0.4, 0.1])) for rater in range(6)}
    )
    pairs = pd.DataFrame(
        {
            "image": [f"image{k}" for k in range(40)],
            "rater": [k % 4 for k in range(40)],  # of the same numbers as the study's, and other people
            "choice": ["pixel_ablation_cam"] * 30 + ["grad_cam"] * 5 + ["lime"] * 5,
            "sides": ["pixel_ablation_cam|grad_cam"] * 35 + ["pixel_ablation_cam|lime"] * 5,
            "excluded": False,
            "study": "explorer",
        }
    )
    pd.concat([table, pairs]).to_csv(tmp_path / "votes.csv", index=False)
    file = SimpleNamespace(file=str(tmp_path / "votes.csv"), study=studies)
    options = SimpleNamespace(votes=file, methods=METHODS, answers="pixel_ablation_cam")
    found = people(SimpleNamespace(options=options)).values  # type: ignore[arg-type]
    named = int(table["choice"].isin(METHODS).sum())
    counts = table["choice"].value_counts()
    assert found["raters"] == 6 and found["share"] == pytest.approx(100 * counts[METHODS[2]] / named, abs=1)
    pixel_or_grad = counts[METHODS[2]] + counts["grad_cam"]
    if studies == "maps":
        assert found["strength.answers"] == named
        assert found["log_odds.over_grad_cam_answers"] == pixel_or_grad
    else:
        assert found["strength.answers"] == named + 35  # not the five that chose, or were shown, another method
        assert found["log_odds.over_grad_cam_answers"] == pixel_or_grad + 35
        alone = people(
            SimpleNamespace(
                options=SimpleNamespace(
                    **{**vars(options), "votes": SimpleNamespace(**{**vars(file), "study": "maps"})}
                )
            )  # type: ignore[arg-type]
        ).values
        assert found["strength"] > alone["strength"] and found["score"] == alone["score"]
        assert found["log_odds.over_grad_cam"] > alone["log_odds.over_grad_cam"]
