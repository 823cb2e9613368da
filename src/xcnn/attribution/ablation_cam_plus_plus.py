"""Ablation-CAM++ (Salama et al. 2022): fewer ablations, by groups of similar channels. No public code is known.

Our reading of its description: channels with similar maps form a tree by repeated division in two (2-means). A group is
set to zero as a whole; where the score drops by more than a share of it, the group is divided and its halves are
ablated; elsewhere the branch is pruned, and the drop is divided equally among the group's channels. With `threshold=0`
nothing is pruned and, where channels do not interact, the map is Ablation-CAM's.
"""

import torch
from torch import Tensor, nn

from xcnn.attribution.layer_method import LayerMethod
from xcnn.attribution.maps import safe_abs
from xcnn.attribution.probe import Probe
from xcnn.device import at_least_float32
from xcnn.errors import UserError

# Relative difference below which distances are ties: maps without a location in common are all equally far from each
# other, and rounding, which varies with device and batch, must not decide which is the farthest.
TIE = 1e-4


class AblationCAMPlusPlus(LayerMethod):
    """ReLU(sum_k w_k A_k), w_k = (Y - Y_g) / (Y |g|) of the group g that channel k ends up in.

    Args:
        groups: number of groups that the channels are divided into before the first is ablated.
        threshold: drop of the score, as a share of |Y|, above which a group is divided.
        iterations: number of iterations of each 2-means.
        model, layer, chunk: as for `LayerMethod`.
    """

    def __init__(
        self,
        model: nn.Module,
        layer: str,
        groups: int = 16,
        threshold: float = 0.01,
        iterations: int = 4,
        chunk: int | None = None,
    ):
        super().__init__(model, layer, chunk)
        if groups < 1 or iterations < 1 or not 0 <= threshold < 1:
            raise UserError(
                f"groups is {groups}, iterations {iterations} and threshold {threshold}; "
                "give at least 1, at least 1, and a share in [0, 1)."
            )
        self.groups, self.threshold, self.iterations = groups, threshold, iterations

    def attribute(self, probe: Probe) -> Tensor:
        features = at_least_float32(probe.features)
        return torch.einsum("nk,nkhw->nhw", self._weights(probe, features.flatten(2)), features).relu()

    def _weights(self, probe: Probe, maps: Tensor) -> Tensor:
        """w_k (N, K), going down all images' trees a level at a time. Maps (N, K, places)."""
        n, channels = maps.shape[:2]
        norms = maps.norm(dim=2, keepdim=True)
        directions = maps / safe_abs(norms)
        groups = torch.zeros(n, channels, dtype=torch.long, device=maps.device)
        used = torch.ones(n, dtype=torch.long, device=maps.device)  # number of groups of each image so far
        weights = torch.zeros(n, channels, dtype=maps.dtype, device=maps.device)
        fresh = torch.zeros(n, channels, dtype=torch.bool, device=maps.device)
        ablating = False
        while True:
            sizes = torch.zeros_like(weights).scatter_add_(1, groups, torch.ones_like(weights))
            if ablating:
                drops = probe.group_drops(groups, fresh)
                shares = drops / sizes.clamp(min=1) / safe_abs(probe.score[:, None])
                weights = torch.where(fresh.gather(1, groups), shares.gather(1, groups), weights)
                divided = fresh & (sizes > 1) & (drops.abs() > self.threshold * probe.score.abs()[:, None])
            else:
                divided = (sizes > 1) & (used < self.groups)[:, None]
            if not divided.any():
                if ablating:
                    return weights
                ablating, fresh = True, sizes > 0
                continue
            names = used[:, None] + divided.cumsum(1) - 1  # index of each divided group's second half
            second = self._second_half(directions, groups, divided)
            groups = torch.where(second, names.gather(1, groups), groups)
            fresh = divided.scatter_reduce(1, groups, second, "amax")
            used = used + divided.sum(1)

    def _second_half(self, directions: Tensor, groups: Tensor, divided: Tensor) -> Tensor:
        """Whether each channel (N, K) goes to the second half of its group, by 2-means within each divided group."""
        chosen = divided.gather(1, groups)
        image, channel = chosen.nonzero(as_tuple=True)
        points = directions[image, channel]  # (P, places)
        _, group = torch.unique(image * groups.shape[1] + groups[image, channel], return_inverse=True)
        n = int(group.max()) + 1

        def means(weight: Tensor) -> Tensor:
            total = points.new_zeros(n).index_add_(0, group, weight)
            return points.new_zeros(n, points.shape[1]).index_add_(0, group, points * weight[:, None]) / total.clamp(
                min=1
            ).unsqueeze(1)

        def farthest(centres: Tensor) -> Tensor:
            """In each group the point farthest from the group's centre; the first of several."""
            distance = (points - centres[group]).square().sum(1)
            most = distance.new_zeros(n).scatter_reduce_(0, group, distance, "amax")
            order = torch.arange(len(points), device=points.device)
            order = torch.where(distance >= (1 - TIE) * most[group], order, len(points))
            return order.new_full((n,), len(points)).scatter_reduce_(0, group, order, "amin")

        first = points[farthest(means(points.new_ones(len(points))))]
        second = points[farthest(first)]
        for _ in range(self.iterations):
            nearer = (points - second[group]).square().sum(1) < (1 - TIE) * (points - first[group]).square().sum(1)
            first, second = means((~nearer).to(points.dtype)), means(nearer.to(points.dtype))
        # Identical points have no nearer centre: every other one goes to the second half.
        parts = torch.stack(
            [points.new_zeros(n).index_add_(0, group, side.to(points.dtype)) for side in (nearer, ~nearer)]
        )
        alike = (parts == 0).any(0)[group]
        order = torch.argsort(group, stable=True)
        place = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
        starts = torch.zeros(n, dtype=torch.long, device=order.device).scatter_reduce_(
            0, group, place, "amin", include_self=False
        )
        result = torch.zeros_like(chosen)
        result[image, channel] = torch.where(alike, (place - starts[group]) % 2 == 1, nearer)
        return result
