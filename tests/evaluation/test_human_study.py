"""Leads and odds of people's answers by hand, and what simulated studies bear."""

import pandas as pd
import pytest

from xcnn.evaluation.human_study import leads_of, odds_of, simulated_values
from xcnn.metrics.human_study import votes_by_rater
from xcnn.metrics.simulated_raters import Design

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
    found = leads_of(votes_by_rater(table, [f"image{k}" for k in range(4)], METHODS), METHODS, METHODS[2])
    assert found["score.less_grad_cam"] == pytest.approx(250 * (2 - 1.5) / 4)
    assert found["score.less_ablation_cam"] == pytest.approx(250 * (2 - 0.5) / 4)
    for other in ("grad_cam", "ablation_cam"):
        low, high = (found[f"score.less_{other}_{end}"] for end in ("low", "high"))
        assert low <= found[f"score.less_{other}"] <= high and low < high


def test_a_lead_of_nothing_but_pixel_is_the_greatest() -> None:
    table = answers_of({"a": [METHODS[2]] * 3, "b": [METHODS[2]] * 3})
    found = leads_of(votes_by_rater(table, ["image0", "image1", "image2"], METHODS), METHODS, METHODS[2])
    assert {round(value, 6) for value in found.values()} == {250}


def test_odds_leave_a_method_out_that_was_never_chosen() -> None:
    table = answers_of({f"rater{k}": ["grad_cam", "pixel_ablation_cam"] * 3 for k in range(4)})
    found = odds_of(table, METHODS, METHODS[2])
    assert found["log_odds.over_grad_cam"] == pytest.approx(0, abs=0.05)
    assert found["log_odds.over_grad_cam_answers"] == 24
    assert not [name for name in found if "over_ablation_cam" in name]


def test_raters_without_a_preference_lead_by_nothing() -> None:
    preferred = {**dict.fromkeys(METHODS, 0.3), "same": 0.1}
    found = simulated_values(preferred, METHODS[2], METHODS[1], Design(6, 20, 6), 0.0, 0.0, 40, 100, 0)
    assert found["share"] == pytest.approx(30, abs=1e-6) and found["lead"] == pytest.approx(0, abs=1e-6)
    assert found["lead.low"] < 0 < found["lead.high"] and found["answers"] == 120
    assert found["lead.told_both"] == pytest.approx(100 - found["lead.covered_both"])  # of a truth of 0
    assert found["share.told_both"] == 100 and 70 < found["share.covered_both"] <= 100
