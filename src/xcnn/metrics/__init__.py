"""How good an explanation is."""

from xcnn.metrics.feature_maps import feature_map_rows, feature_map_values, thinned_succinctness
from xcnn.metrics.localisation import energy_inside, iou, pointing_game

__all__ = [
    "energy_inside",
    "feature_map_rows",
    "feature_map_values",
    "iou",
    "pointing_game",
    "thinned_succinctness",
]
