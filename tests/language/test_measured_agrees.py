"""The area and dispersion that the words state are those that the loss penalises."""

from collections.abc import Callable

import pytest
import torch

from xcnn.language import FilterEvidence, MeasuredDescriber
from xcnn.training import concise_terms


@pytest.mark.parametrize("size", [(8, 8), (5, 11), (16, 7)])
@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.6])
def test_area_and_dispersion_are_those_of_the_loss(
    evidence: Callable[..., FilterEvidence], size: tuple[int, int], threshold: float
) -> None:
    generator = torch.Generator().manual_seed(4)
    maps = (torch.randn(1, 12, *size, generator=generator, dtype=torch.float64) - 0.8).relu()
    maps[0, 0] = 0
    maps[0, 0, 2, 3] = 1.5  # one cell
    maps[0, 1] = 0.3  # everywhere
    areas, dispersions = (term[0].tolist() for term in concise_terms(maps, threshold))
    assert areas[0] == 1 / (size[0] * size[1]) and areas[1] == 1
    for activation, area, dispersion in zip(maps[0], areas, dispersions, strict=True):
        description = MeasuredDescriber().describe(evidence(activation, threshold=threshold))
        said = {claim.kind: claim.value for claim in description.claims}
        assert said["area"] == pytest.approx(area, abs=1e-6)
        assert said["dispersion"] == pytest.approx(dispersion, abs=1e-6)


def test_a_map_is_said_to_be_dead_where_the_loss_counts_it_as_dead(evidence: Callable[..., FilterEvidence]) -> None:
    maps = torch.zeros(1, 2, 4, 4, dtype=torch.float64)
    maps[0, 1, 0, 0] = 1e-30
    live = (concise_terms(maps)[0][0] > 0).tolist()
    assert live == [False, True]
    for activation, alive in zip(maps[0], live, strict=True):
        kinds = {claim.kind for claim in MeasuredDescriber().describe(evidence(activation)).claims}
        assert ("dead" in kinds) is not alive and ("area" in kinds) is alive
