"""The analysis of people's answers: leads, odds, and votes of the explorer beside a planned study's."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments.pixel_ablation_cam.human_study import leads_of, odds_of, people
from xcnn.metrics.human_study import SAME, votes_by_rater

METHODS = ("grad_cam", "ablation_cam", "pixel_ablation_cam")
SIDES = "|".join(METHODS)


def answers_of(choices: dict[str, list[str | None]]) -> pd.DataFrame:
    """A row for each rater and image, of the choices of each rater."""
    rows = [
        {"image": f"image{place}", "rater": rater, "choice": choice, "sides": SIDES, "excluded": False, "study": "maps"}
        for rater, of_rater in choices.items()
        for place, choice in enumerate(of_rater)
    ]
    return pd.DataFrame(rows)


def test_leads_are_by_hand() -> None:
    """Of four images' votes Pixel Ablation-CAM has 1, 1/2, 1/2 and 0, Grad-CAM 0, 1/2, 0 and 1; of 250 images."""
    grad, ablation, pixel = METHODS
    table = answers_of({"a": [pixel, pixel, ablation, grad], "b": [pixel, grad, pixel, None]})
    found = leads_of(votes_by_rater(table, [f"image{k}" for k in range(4)], METHODS), METHODS)
    assert found["score.less_grad_cam"] == pytest.approx(250 * (2 - 1.5) / 4)
    assert found["score.less_ablation_cam"] == pytest.approx(250 * (2 - 0.5) / 4)
    for other in ("grad_cam", "ablation_cam"):
        low, high = (found[f"score.less_{other}_{end}"] for end in ("low", "high"))
        assert low <= found[f"score.less_{other}"] <= high and low < high


def test_a_lead_of_nothing_but_pixel_is_the_greatest() -> None:
    table = answers_of({"a": [METHODS[2]] * 3, "b": [METHODS[2]] * 3})
    found = leads_of(votes_by_rater(table, ["image0", "image1", "image2"], METHODS), METHODS)
    assert {round(value, 6) for value in found.values()} == {250}


def test_odds_leave_a_method_out_that_was_never_chosen() -> None:
    table = answers_of({f"rater{k}": ["grad_cam", "pixel_ablation_cam"] * 3 for k in range(4)})
    found = odds_of(table, METHODS)
    assert found["log_odds.over_grad_cam"] == pytest.approx(0, abs=0.05)
    assert found["log_odds.over_grad_cam_answers"] == 24
    assert not [name for name in found if "over_ablation_cam" in name]


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
