"""Rows of logits, and what is told of them: against plain loops on drawn probabilities."""

import numpy as np
import pandas as pd
import pytest
import torch

from xcnn.errors import UserError
from xcnn.evaluation.uncertainty import SETS, Halves, uncertainty
from xcnn.surrogates import ConformalSets, threshold


def rows(n: int, scale: float = 1.0) -> pd.DataFrame:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(n, 6, generator=generator)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    share = np.linspace(0.1, 0.9, n)
    return pd.DataFrame(
        {"broken": False, "label": labels.numpy(), "logits": list((scale * logits).numpy()), "object": share}
    )


def test_values_are_those_of_a_plain_loop() -> None:
    table = rows(400)
    halves = Halves(splits=7, temperature_share=0.25, seed=1)
    values, details = uncertainty(table, 0.2, halves, penalty=0.01, rank=2)
    held, splits = halves.places(400)
    assert len({*held.tolist()} | {*splits[0][0].tolist()} | {*splits[0][1].tolist()}) == 400
    assert (details["held"], details["calibration"], details["test"]) == (100, 150, 150)
    logits = torch.from_numpy(np.stack(table["logits"].to_list())).double() / values["temperature"]
    labels = torch.tensor(table["label"].to_numpy())
    scores = ConformalSets("aps", seed=1).scores(logits.softmax(1))
    shares, sizes, small = [], [], []
    for calibration, test in splits:
        limit = float(threshold(scores[calibration, labels[calibration]], 0.2))
        inside = [bool(scores[i, labels[i]] <= limit) for i in test.tolist()]
        shares.append(np.mean(inside))
        sizes.append(np.mean([int((scores[i] <= limit).sum()) for i in test.tolist()]))
        small += [own for own, i in zip(inside, test.tolist(), strict=True) if i <= 133]  # a third, by the share
    assert values["coverage/aps"] == pytest.approx(np.mean(shares))
    assert values["size/aps"] == pytest.approx(np.mean(sizes))
    assert details["coverages"]["aps"] == pytest.approx(shares, abs=1e-5)
    assert values["small/aps"] == pytest.approx(np.mean(small))
    assert values["outside/aps"] == sum(not details["band"][0] <= share <= details["band"][1] for share in shares)


def test_temperature_repairs_what_was_scaled_and_the_naive_sets_do_not() -> None:
    values, _ = uncertainty(rows(4000, scale=3), 0.1, Halves(splits=20), penalty=0.01, rank=2)
    assert values["temperature"] == pytest.approx(3, rel=0.1)
    assert values["ece"] > 0.15 > 0.05 > values["ece/scaled"]
    assert values["coverage/naive_raw"] < 0.8 < values["coverage/naive"]
    assert all(values[f"within/{kind}"] for kind in SETS[:3]) and not values["within/naive_raw"]
    assert values["worst_class/lac"] <= values["coverage/lac"] <= values["best_class/lac"]


def test_broken_images_are_left_out_and_sizes_may_be_unknown() -> None:
    table = rows(200)
    values, _ = uncertainty(table, 0.2, Halves(splits=3), 0.01, 2)
    more = pd.concat([table, table.iloc[:3].assign(broken=True, label=np.nan, logits=None)], ignore_index=True)
    assert uncertainty(more, 0.2, Halves(splits=3), 0.01, 2)[0] == values
    unknown = uncertainty(table.assign(object=np.nan), 0.2, Halves(splits=3), 0.01, 2)[0]
    assert unknown == {
        name: value for name, value in values.items() if name.split("/")[0] not in ("small", "medium", "large")
    }


def test_too_few_images() -> None:
    with pytest.raises(UserError, match=r"9 calibration images cannot tell of 0.05"):
        uncertainty(rows(20), 0.05, Halves(splits=2), 0.01, 2)
    with pytest.raises(UserError, match=r"temperature_share of 0.1 leave a part of 3 images empty"):
        uncertainty(rows(3), 0.5, Halves(splits=2), 0.01, 2)
