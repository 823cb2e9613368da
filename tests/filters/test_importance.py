"""Importance of filters where it is known, and against the network written out."""

from collections import OrderedDict

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from xcnn.errors import UserError
from xcnn.filters import RANKINGS, Ranking, filter_importance, score_filters, without_filters
from xcnn.models import conv3, split_at


def known() -> nn.Sequential:
    """Filters are the colours: red decides, green matters a little, blue not at all."""
    network = nn.Sequential(
        OrderedDict(maps=nn.Conv2d(3, 3, 1, bias=False), pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(),
                    head=nn.Linear(3, 2, bias=False))
    )  # fmt: skip
    with torch.no_grad():
        network.maps.weight.copy_(torch.eye(3)[:, :, None, None])
        network.head.weight.copy_(torch.tensor([[8.0, 1.0, 0.0], [-8.0, -1.0, 0.0]]))
    return network


@pytest.mark.parametrize("ranking", ["permutation", "ablation", "score"])
def test_what_matters_more_ranks_higher_and_what_does_not_is_0(ranking: Ranking) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(200, 3, 1, 1)
    labels = (known()(inputs)[:, 1] > known()(inputs)[:, 0]).long()
    found = filter_importance(known(), "maps", ranking, inputs, labels, batch_size=64)
    assert found[0] > 1.2 * found[1] > 0 and found[2] == pytest.approx(0, abs=1e-7)


def test_rises_of_the_loss_are_those_of_the_network_written_out() -> None:
    torch.manual_seed(0)
    model, inputs, labels = conv3().eval(), torch.rand(9, 3, 8, 8), torch.arange(9)
    found = {name: filter_importance(model, "relu2", name, inputs, labels, 3, batch_size=4) for name in RANKINGS}
    first, rest = model[:5], model[5:]
    cycle = torch.randperm(9, generator=torch.Generator().manual_seed(3)).tolist()
    others = {image: cycle[place - 1] for place, image in enumerate(cycle)}
    with torch.no_grad():
        maps = first(inputs)
        before = F.cross_entropy(rest(maps), labels)
        for channel in (0, 17, 63):
            shuffled, ablated = maps.clone(), maps.clone()
            shuffled[:, channel] = maps[[others[image] for image in range(9)], channel]
            ablated[:, channel] = 0
            for name, changed in (("permutation", shuffled), ("ablation", ablated)):
                expected = F.cross_entropy(rest(changed), labels) - before
                assert float(found[name][channel]) == pytest.approx(float(expected), abs=1e-6)
    torch.testing.assert_close(found["score"], score_filters(model, "relu2", (3, 8, 8)).abs().amax(0).double())
    assert torch.equal(found["random"], filter_importance(model, "relu2", "random", inputs, labels, 3))
    assert not torch.equal(found["random"], filter_importance(model, "relu2", "random", inputs, labels, 4))


def test_logits_without_filters() -> None:
    torch.manual_seed(0)
    model, inputs = conv3().eval(), torch.rand(3, 3, 8, 8)
    split = split_at(model, "relu3")
    with torch.no_grad():
        features = split.trunk(inputs)
    found = without_filters(split, features, [[5, 7, 9], [9, 5, 7]], [0, 2])
    assert found.shape == (2, 2, 3, 10)
    with torch.no_grad():
        torch.testing.assert_close(found[0, 0], model(inputs))
        features[:, [9, 5]] = 0
        torch.testing.assert_close(found[1, 1], split.head(features))


def test_refused() -> None:
    images, labels = torch.rand(2, 3, 8, 8), torch.zeros(2, dtype=torch.int64)
    with pytest.raises(UserError, match="unknown ranking 'gradient'; there are: permutation"):
        filter_importance(conv3(), "relu1", "gradient", images, labels)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="at least two images, not 1"):
        filter_importance(conv3(), "relu1", "ablation", images[:1], labels[:1])
    with pytest.raises(UserError, match="not maps"):
        filter_importance(conv3(), "flatten", "ablation", images, labels)
    with pytest.raises(UserError, match="5 filters cannot be removed of 4"):
        without_filters(split_at(conv3(), "relu1"), torch.rand(1, 4, 2, 2), [[0]], [5])
