"""A soft decision tree (Frosst & Hinton 2017): every inner node is a filter, every leaf a fixed distribution.

Inner node i sends an image x, as a vector, to its right child with probability p_i(x) = sigmoid(beta (x w_i + b_i)).
The probability P^l(x) of the path to leaf l is the product along it; leaf l has the distribution Q^l = softmax(phi^l).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from xcnn.errors import UserError

MOST = 14  # levels, of 16,384 leaves


class Paths(NamedTuple):
    """What becomes of images in a tree of depth d.

    Attributes:
        arrival: probability with which an image comes to each inner node, level by level, (N, 2^d - 1).
        right: probability with which each inner node sends it to the right, (N, 2^d - 1).
        leaves: probability of each leaf, from left to right, (N, 2^d); their sum is 1.
    """

    arrival: Tensor
    right: Tensor
    leaves: Tensor


class SoftDecisionTree(nn.Module):
    """Images to log-probabilities: those of the leaf with the most probable path, as the tree is read.

    Inner nodes are numbered level by level from the root, 0; the children of i are 2 i + 1 and 2 i + 2.

    Args:
        input_size: of an image, (C, H, W).
        n_classes: number of classes.
        depth: number of decisions on a path, at least 1.
        sharpness: beta, the inverse temperature of the decisions.

    Raises:
        UserError: a depth or sharpness out of range.
    """

    def __init__(self, input_size: Sequence[int], n_classes: int, depth: int = 8, sharpness: float = 1.0):
        super().__init__()
        if not 1 <= depth <= MOST or not sharpness > 0:
            raise UserError(f"depth is in 1..{MOST} and sharpness above 0, not {depth} and {sharpness}.")
        self.input_size, self.depth, self.sharpness = tuple(input_size), depth, sharpness
        self.filters = nn.Linear(int(torch.tensor(input_size).prod()), 2**depth - 1)
        self.leaves = nn.Parameter(torch.randn(2**depth, n_classes) * 0.1)

    def forward(self, images: Tensor) -> Tensor:
        return self.leaves.log_softmax(1)[self.paths(images).leaves.argmax(1)]

    def averaged(self, images: Tensor) -> Tensor:
        """Probabilities (N, classes), averaged over all leaves by the probability of their paths."""
        return self.paths(images).leaves @ self.leaves.softmax(1)

    def paths(self, images: Tensor) -> Paths:
        """Probabilities of nodes and leaves of images (N, C, H, W)."""
        with torch.autocast(images.device.type, enabled=False):  # its rounding would decide where paths are long
            right = (self.sharpness * self.filters(images.flatten(1).to(self.leaves.dtype))).sigmoid()
        level, arrivals = right.new_ones(len(right), 1), []
        for part in right.split([2**d for d in range(self.depth)], 1):
            arrivals.append(level)
            level = torch.stack([level * (1 - part), level * part], 2).flatten(1)
        return Paths(torch.cat(arrivals, 1), right, level)

    def path(self, image: Tensor) -> tuple[list[int], int]:
        """The inner nodes on the most probable path of an image (C, H, W), and its leaf."""
        leaf = int(self.paths(image[None]).leaves.argmax())
        node, nodes = leaf + 2**self.depth - 1, []
        while node:
            node = (node - 1) // 2
            nodes.append(node)
        return nodes[::-1], leaf

    def filter_images(self) -> Tensor:
        """The filters as images, (2^d - 1, C, H, W); a positive weight sends to the right."""
        return self.filters.weight.detach().view(-1, *self.input_size)


def tree_loss(paths: Paths, leaves: Tensor, targets: Tensor) -> Tensor:
    """The mean over images of the cross-entropy of each leaf's distribution, weighted by the paths' probabilities.

    Frosst & Hinton's eq. 5 prints -log(sum_l P^l sum_k T_k log Q^l_k), the logarithm of a negative number; this is
    -sum_l P^l sum_k T_k log Q^l_k, as their text says.

    Args:
        paths: of N images.
        leaves: phi, (leaves, classes).
        targets: distributions (N, classes).
    """
    return -(paths.leaves * (targets @ leaves.log_softmax(1).T)).sum(1).mean()


class Balance(nn.Module):
    """The penalty that keeps both children of a node in use (eqs. 6 to 7), and the running averages that it needs.

    alpha_i = sum_x P^i(x) p_i(x) / sum_x P^i(x) is the share that node i sends to the right; the penalty is the sum
    over nodes of -strength 2^-level (log alpha_i + log(1 - alpha_i)) / 2. Sums decay with a window of 2^level batches,
    as a node sees that share of a batch.

    Args:
        depth: of the tree.
        strength: lambda, at the root.

    Raises:
        UserError: a negative strength.
    """

    arrived: Tensor
    right: Tensor

    def __init__(self, depth: int, strength: float = 0.1):
        super().__init__()
        if strength < 0:
            raise UserError(f"strength must be at least 0, not {strength}.")
        level = torch.cat([torch.full((2**d,), float(d)) for d in range(depth)])
        self.register_buffer("keep", 1 - 0.5**level, persistent=False)
        self.register_buffer("weight", strength * 0.5**level, persistent=False)
        self.register_buffer("arrived", torch.zeros(len(level)))
        self.register_buffer("right", torch.zeros(len(level)))

    def forward(self, paths: Paths) -> Tensor:
        """The penalty of a batch, a scalar; the running averages go on."""
        keep, weight = self.get_buffer("keep"), self.get_buffer("weight")
        arrived = keep * self.arrived + paths.arrival.mean(0)
        right = keep * self.right + (paths.arrival * paths.right).mean(0)
        self.arrived, self.right = arrived.detach(), right.detach()
        share = (right / arrived.clamp(min=1e-12)).clamp(1e-6, 1 - 1e-6)
        return -(weight * (share.log() + (1 - share).log()) / 2).sum()
