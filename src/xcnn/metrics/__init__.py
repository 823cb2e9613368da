"""How good an explanation is."""

from xcnn.metrics.boxes import box_iou_best, box_mask, box_masks, largest_component_box, localised
from xcnn.metrics.feature_maps import feature_map_rows, feature_map_values, thinned_succinctness
from xcnn.metrics.localisation import energy_inside, iou, pointing_game, top_fraction_overlap
from xcnn.metrics.perturbation import auc, blurred, deletion_curves, insertion_curves
from xcnn.metrics.ranking import relevance_rank
from xcnn.metrics.road import impute, road_combined, road_scores

__all__ = [
    "auc",
    "blurred",
    "box_iou_best",
    "box_mask",
    "box_masks",
    "deletion_curves",
    "energy_inside",
    "feature_map_rows",
    "feature_map_values",
    "impute",
    "insertion_curves",
    "iou",
    "largest_component_box",
    "localised",
    "pointing_game",
    "relevance_rank",
    "road_combined",
    "road_scores",
    "thinned_succinctness",
    "top_fraction_overlap",
]
