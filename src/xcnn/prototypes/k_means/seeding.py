"""Seeding of several tries at once by greedy k-means++."""

import math

import torch
from torch import Tensor

from xcnn.prototypes.k_means.rows import HeldRows


def k_means_plus_plus(held: HeldRows, k: int, tries: int, seed: int) -> Tensor:
    """Greedy k-means++ of each set, `tries` times: (B, tries, k, d). Sets share their random numbers."""
    data, device = held.data, held.data.device
    generator = torch.Generator().manual_seed(seed)
    trials = 2 + int(math.log(k))
    first = torch.rand(tries, generator=generator, dtype=torch.float64).to(device)
    draws = torch.rand(k - 1, tries, trials, generator=generator, dtype=torch.float64).to(device)
    every = torch.arange(len(data), device=device)[:, None]
    squares = data.square().sum(-1)
    last = held.sizes[:, None] - 1

    def distances(chosen: Tensor) -> Tensor:
        """Of rows `chosen` (B, tries, c) to all: (B, tries, c, n), 0 for padding."""
        rows = data[every, chosen.flatten(1)]
        found = torch.baddbmm(squares[:, None], rows, data.mT, alpha=-2).add_(rows.square().sum(-1, keepdim=True))
        found = found.clamp_(min=0).unflatten(1, chosen.shape[1:])
        return found if held.padding is None else found.masked_fill_(held.padding[:, None, None], 0)

    chosen = [(first * held.sizes[:, None]).long()]  # (B, tries) of each step
    closest = distances(chosen[0][..., None])[:, :, 0]
    for draw in draws:
        sums = closest.double().cumsum(-1)
        candidates = torch.searchsorted(sums, draw * sums[..., -1:], right=True).minimum(last[..., None])
        found = distances(candidates).minimum(closest[:, :, None])
        best = found.sum(-1, dtype=torch.float64).argmin(-1, keepdim=True)
        chosen.append(candidates.gather(2, best)[..., 0])
        closest = found.gather(2, best[..., None].expand(-1, -1, -1, held.n))[:, :, 0]
    return data[every[..., None], torch.stack(chosen, -1)]
