"""How good an explanation is."""

from xcnn.metrics.bootstrap import (
    Difference,
    Interval,
    bootstrap_means,
    interval,
    paired_difference,
    percentiles,
    two_way_bootstrap_means,
)
from xcnn.metrics.boxes import box_iou_best, box_mask, box_masks, largest_component_box, localised
from xcnn.metrics.faithfulness import (
    FILLS,
    KEEPS,
    Outputs,
    Protocol,
    average_drop,
    drop_share,
    increase,
    increased,
    protocols,
    wins,
)
from xcnn.metrics.feature_maps import feature_map_rows, feature_map_values, thinned_succinctness
from xcnn.metrics.human_study import (
    Comparison,
    Preferences,
    fleiss_kappa,
    krippendorff_alpha,
    luce_strengths,
    model_comparison,
    preferences,
    vote_counts,
    votes_by_rater,
)
from xcnn.metrics.localisation import energy_inside, iou, pointing_game, top_fraction_overlap
from xcnn.metrics.map_appearance import edge_share, edges, extent, fine_detail, gini, share_above
from xcnn.metrics.perturbation import auc, blurred, deletion_curves, insertion_curves
from xcnn.metrics.ranking import relevance_rank
from xcnn.metrics.road import impute, road_combined, road_scores
from xcnn.metrics.saturation import accounted, hidden_share

__all__ = [
    "FILLS",
    "KEEPS",
    "Comparison",
    "Difference",
    "Interval",
    "Outputs",
    "Preferences",
    "Protocol",
    "accounted",
    "auc",
    "average_drop",
    "blurred",
    "bootstrap_means",
    "box_iou_best",
    "box_mask",
    "box_masks",
    "deletion_curves",
    "drop_share",
    "edge_share",
    "edges",
    "energy_inside",
    "extent",
    "feature_map_rows",
    "feature_map_values",
    "fine_detail",
    "fleiss_kappa",
    "gini",
    "hidden_share",
    "impute",
    "increase",
    "increased",
    "insertion_curves",
    "interval",
    "iou",
    "krippendorff_alpha",
    "largest_component_box",
    "localised",
    "luce_strengths",
    "model_comparison",
    "paired_difference",
    "percentiles",
    "pointing_game",
    "preferences",
    "protocols",
    "relevance_rank",
    "road_combined",
    "road_scores",
    "share_above",
    "thinned_succinctness",
    "top_fraction_overlap",
    "two_way_bootstrap_means",
    "vote_counts",
    "votes_by_rater",
    "wins",
]
