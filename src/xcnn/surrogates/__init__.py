"""An interpretable model in the network's place, and sets that say how sure it is."""

from xcnn.surrogates.conformal import ConformalSets, coverage_band, coverage_law, threshold
from xcnn.surrogates.temperature import fit_temperature

__all__ = ["ConformalSets", "coverage_band", "coverage_law", "fit_temperature", "threshold"]
