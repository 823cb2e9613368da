"""A soft decision tree by hand: paths, loss and balance, against loops over nodes."""

import math

import pytest
import torch
from torch import Tensor

from xcnn.errors import UserError
from xcnn.models.soft_tree import Balance, Paths, SoftDecisionTree, tree_loss

SIZE = (1, 2, 2)


def tree(depth: int = 3, classes: int = 4, seed: int = 0, sharpness: float = 2.0) -> SoftDecisionTree:
    torch.manual_seed(seed)
    return SoftDecisionTree(SIZE, classes, depth, sharpness).double()


def images(n: int = 5) -> Tensor:
    return torch.rand(n, *SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def walked(network: SoftDecisionTree, image: Tensor, leaf: int) -> float:
    """The probability of the path to a leaf, node by node from the root."""
    node, probability = 0, 1.0
    for turn in range(network.depth):
        right = bool(leaf >> (network.depth - 1 - turn) & 1)
        filter_, bias = network.filters.weight[node], network.filters.bias[node]
        p = 1 / (1 + math.exp(-network.sharpness * float((image.flatten() @ filter_ + bias).detach())))
        probability *= p if right else 1 - p
        node = 2 * node + (2 if right else 1)
    return probability


def test_paths_are_products_along_the_tree() -> None:
    network, given = tree(), images()
    paths = network.paths(given)
    expected = [[walked(network, image, leaf) for leaf in range(8)] for image in given]
    torch.testing.assert_close(paths.leaves, torch.tensor(expected, dtype=torch.float64))
    # What comes to a node is what comes to the leaves below it.
    torch.testing.assert_close(paths.arrival[:, 2], paths.leaves[:, 4:].sum(1))
    torch.testing.assert_close(paths.arrival[:, 4], paths.leaves[:, 2:4].sum(1))
    torch.testing.assert_close(paths.arrival[:, 0], torch.ones(5).double())


def test_it_decides_by_its_most_probable_leaf_and_names_the_path() -> None:
    network, given = tree(), images(1)
    leaf = max(range(8), key=lambda each: walked(network, given[0], each))
    torch.testing.assert_close(network(given)[0], network.leaves[leaf].log_softmax(0))
    nodes, found = network.path(given[0])
    assert found == leaf and nodes[0] == 0 and len(nodes) == 3
    turns = [leaf >> 2 & 1, leaf >> 1 & 1]
    assert nodes == [0, 1 + turns[0], 2 * (1 + turns[0]) + 1 + turns[1]]
    torch.testing.assert_close(network.averaged(given).sum(1), torch.ones(1).double())
    assert network.filter_images().shape == (7, *SIZE)


def test_loss_by_hand() -> None:
    paths = Paths(torch.ones(1, 1), torch.tensor([[0.75]]), torch.tensor([[0.25, 0.75]]))
    leaves = torch.tensor([[0.5, 0.5], [0.9, 0.1]]).log()
    found = tree_loss(paths, leaves, torch.tensor([[0.8, 0.2]]))
    expected = 0.25 * math.log(2) - 0.75 * (0.8 * math.log(0.9) + 0.2 * math.log(0.1))
    assert float(found) == pytest.approx(expected)


def test_balance_by_hand_and_over_batches() -> None:
    balance = Balance(depth=2, strength=0.4)
    arrival = torch.tensor([[1.0, 0.6, 0.4], [1.0, 0.2, 0.8]])
    right = torch.tensor([[0.4, 0.5, 0.1], [0.8, 0.25, 0.9]])
    shares = [0.6, (0.6 * 0.5 + 0.2 * 0.25) / 0.8, (0.4 * 0.1 + 0.8 * 0.9) / 1.2]

    def penalty(shares: list[float]) -> float:
        parts = zip((0.4, 0.2, 0.2), shares, strict=True)
        return -sum(weight * (math.log(a) + math.log(1 - a)) / 2 for weight, a in parts)

    assert float(balance(Paths(arrival, right, arrival))) == pytest.approx(penalty(shares))
    other = Paths(arrival, torch.full_like(right, 0.5), arrival)
    # The root forgets; below it, half of what the first batch left counts.
    after = [0.5, *((s / 2 + 0.5) / 1.5 for s in shares[1:])]
    assert float(balance(other)) == pytest.approx(penalty(after))
    assert set(balance.state_dict()) == {"arrived", "right"}  # what a resumed training goes on from


def test_balance_is_least_where_both_children_are_used_alike() -> None:
    right = torch.tensor([[0.3]], requires_grad=True)
    Balance(1)(Paths(torch.ones(1, 1), right, torch.ones(1, 2))).backward()
    assert right.grad is not None and float(right.grad) < 0
    even = torch.tensor([[0.5]], requires_grad=True)
    Balance(1)(Paths(torch.ones(1, 1), even, torch.ones(1, 2))).backward()
    assert even.grad is not None and float(even.grad) == pytest.approx(0, abs=1e-6)


def test_autocast_does_not_round_its_decisions() -> None:
    network, given = tree().float(), images().float()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(network.paths(given).leaves, network.paths(given).leaves.float())
        found = network.paths(given).leaves
    torch.testing.assert_close(found, network.paths(given).leaves, rtol=0, atol=0)


def test_refused() -> None:
    for options, said in (({"depth": 0}, r"depth is in 1\.\.14"), ({"sharpness": 0.0}, "sharpness above 0")):
        with pytest.raises(UserError, match=said):
            SoftDecisionTree(SIZE, 2, **options)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="strength must be at least 0"):
        Balance(2, -1)
