"""A network that sees the mark and nothing else, and one that does not see it: what each relies on is known."""

from collections import OrderedDict
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from xcnn.attribution import Gradient
from xcnn.data import MarkConcepts, PlantedMark, Shapes
from xcnn.errors import UserError
from xcnn.evaluation.shortcut import (
    all_decisions,
    concept_reliance,
    explained_places,
    planted,
    relevance,
    relevance_rows,
    reliance,
    surrogate_reliance,
)
from xcnn.evaluation.subject import Subject
from xcnn.evaluation.tcav import Draws
from xcnn.report.cells import Cell
from xcnn.surrogates import Pixels, TreeSurrogate


class SeesMagenta(nn.Module):
    """Says class 3 of an image whose square at the mark's place is more magenta than green, else class 0."""

    def __init__(self, blind: bool = False):
        super().__init__()
        weight = torch.zeros(10, 3, 32, 32)
        place = (slice(None), slice(4, 8), slice(4, 8))
        weight[3][place] = torch.tensor([1.0, -1.0, 1.0])[:, None, None] / 32
        weight[3] *= 0 if blind else 1
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.tensor([0.9] + [0.0] * 9))

    def forward(self, images: Tensor) -> Tensor:
        return torch.einsum("nchw,kchw->nk", images, self.weight) + self.bias


def subject(blind: bool = False) -> Subject:
    source = partial(Shapes, n_train=100, n_test=50, draw_seed=0)
    data = PlantedMark(source, "truck", 1.0, 4, [4, 4], [24, 24], [255, 0, 255])
    data.setup()
    return Subject(SeesMagenta(blind).eval(), data, nn.Identity(), None, batch=8)


def test_reliance_of_a_network_that_sees_the_mark_alone() -> None:
    found, blind = reliance(subject()), reliance(subject(blind=True))
    assert found["recall/with"] == found["taken/with"] == 1 and found["accuracy/with"] == 0.1
    for version in ("without", "moved"):
        assert found[f"recall/{version}"] == found[f"taken/{version}"] == 0
    assert all(blind[f"{name}/{version}"] == 0 for name in ("recall", "taken") for version in ("with", "without"))
    assert blind["accuracy/moved"] == 0.1  # the houses


def test_shares_of_relevance_on_the_mark(tmp_path: Path) -> None:
    seeing, blind = subject(), subject(blind=True)
    data = planted(seeing)
    places = explained_places(data, 3, 4)
    assert (data.test.labels[places] == 3).sum() == 3 and len(places) == 7
    cell = Cell("a/b", "c", tmp_path, {}, {})
    methods = {"1.0": {"gradient": Gradient(seeing.network)}, "0.0": {"gradient": Gradient(blind.network)}}
    rows = relevance_rows(cell, methods, seeing, places, 4)
    assert (rows["gradient/1.0/with"] == 1).all() and (rows["gradient/0.0/with"] == 0).all()
    # Without the mark it says house, whose logit is a constant.
    assert (rows["gradient/1.0/without"] == 0).all() and rows["member"].sum() == 3
    values = relevance(rows)
    assert values["share/gradient/1.0"] == values["auroc/gradient/1.0"] == values["apart/gradient/1.0"] == 1
    assert values["share.low/gradient/1.0"] == 1 and values["auroc/gradient/0.0"] == 0.5
    assert "apart/gradient/0.0" not in values


def test_relevance_by_hand() -> None:
    rows = pd.DataFrame(
        {
            "member": [True, True, False],
            "m/0.0/with": [0.1, 0.3, 0.2],
            "m/0.0/without": [0.1, 0.3, 0.2],
            "m/1.0/with": [0.4, 0.2, 0.9],
            "m/1.0/without": [0.0, 0.3, 0.2],
        }
    )
    values = relevance(rows)
    assert values["share/m/1.0"] == pytest.approx(0.3) and values["auroc/m/0.0"] == 0.5
    assert values["auroc/m/1.0"] == pytest.approx((3 + 1.5 + 3) / 9)
    assert values["apart/m/1.0"] == pytest.approx((3 + 1.5 + 3) / 9)


def test_a_tree_on_pixels_names_the_mark_of_a_network_that_sees_it() -> None:
    own = subject()
    decided = all_decisions(own, 80)
    assert len(decided["train"]) == 80 and (decided["with"] == 3).all()
    found = surrogate_reliance(own, partial(Pixels, side=8), partial(TreeSurrogate, max_leaves=2), decided, 20)
    assert found["fidelity/with"] == found["taken/with"] == found["names"] == 1
    assert found["taken/without"] == 0 and found["telling"] == 3
    assert found["fidelity/moved"] == 1 and found["recall/moved"] == 0


def test_concept_activation_finds_the_mark_where_the_network_sees_it(tmp_path: Path) -> None:
    """The network's derivative is the mark itself, so that every image of the class says yes; a blind one's is zero."""
    draws = Draws(set_size=8, counterparts=2, tested=2, chance=100, permutations=2)
    found = {}
    for blind in (False, True):
        own = subject(blind)
        own = replace(own, network=nn.Sequential(OrderedDict(seen=nn.ReLU(), says=own.network)), weights=str(blind))
        sets = MarkConcepts()(planted(own))
        found[blind] = concept_reliance(own, sets, "seen", "mean_difference", 1.0, draws, tmp_path)
    assert found[False]["concept/score"] == 1 and found[False]["concept/found_slope"] == 1
    assert found[True]["concept/score"] == 0 and found[True]["concept/found"] == found[True]["concept/found_slope"] == 0
    assert found[False]["concept/false_slope"] == 0


def test_refusals() -> None:
    with pytest.raises(UserError, match="6 images of truck and 2 others are to be explained"):
        explained_places(planted(subject()), 6, 2)
    data = Shapes(n_train=10, n_test=10)
    data.setup()
    with pytest.raises(UserError, match="shapes has no planted mark"):
        planted(Subject(nn.Identity(), data, nn.Identity(), None))
    assert np.isfinite(list(reliance(subject()).values())).all()
