"""What a filter does: scores, activation maximisation, succinctness, activity, and matching between trainings."""

from xcnn.filters.activity import FilterActivity, auroc, measure_activity
from xcnn.filters.matching import filter_correlation, match_filters, paired
from xcnn.filters.maximise import activation_maps, total_variation
from xcnn.filters.score import ramp, score_filters, score_layers
from xcnn.filters.succinctness import (
    combined_maps,
    succinctness,
    succinctness_alternatives,
    succinctness_grid,
    succinctness_per_image,
)

__all__ = [
    "FilterActivity",
    "activation_maps",
    "auroc",
    "combined_maps",
    "filter_correlation",
    "match_filters",
    "measure_activity",
    "paired",
    "ramp",
    "score_filters",
    "score_layers",
    "succinctness",
    "succinctness_alternatives",
    "succinctness_grid",
    "succinctness_per_image",
    "total_variation",
]
