"""What a filter does: scores, activation maximisation, succinctness, activity, and matching between trainings."""

from xcnn.filters.activity import FilterActivity, auroc, measure_activity
from xcnn.filters.importance import RANKINGS, Ranking, filter_importance, without_filters
from xcnn.filters.matching import filter_correlation, match_filters, paired
from xcnn.filters.maximise import MaximisedImages, activation_maps, maximise_images, total_variation
from xcnn.filters.patches import TopPatches, top_patches
from xcnn.filters.score import ramp, score_filters, score_layers
from xcnn.filters.succinctness import (
    combined_maps,
    succinctness,
    succinctness_alternatives,
    succinctness_grid,
    succinctness_per_image,
)

__all__ = [
    "RANKINGS",
    "FilterActivity",
    "MaximisedImages",
    "Ranking",
    "TopPatches",
    "activation_maps",
    "auroc",
    "combined_maps",
    "filter_correlation",
    "filter_importance",
    "match_filters",
    "maximise_images",
    "measure_activity",
    "paired",
    "ramp",
    "score_filters",
    "score_layers",
    "succinctness",
    "succinctness_alternatives",
    "succinctness_grid",
    "succinctness_per_image",
    "top_patches",
    "total_variation",
    "without_filters",
]
