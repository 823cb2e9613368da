"""Drawing: arrays in, matplotlib figures out. Nothing here touches pyplot."""

from xcnn.figures.colours import distinct_colours
from xcnn.figures.embedding import EmbeddingPanel, Marks, embedding_plot
from xcnn.figures.estimates import Estimate, protocol_plot
from xcnn.figures.filter_grids import (
    BeforeAfter,
    CombinedMaps,
    FilterView,
    SuccinctImage,
    feature_map_progression,
    filter_comparison,
    renderings_figure,
    succinct_learning,
)
from xcnn.figures.heat_maps import HeatMapRow, explanation_grid, heat_map_grid, kept_grid, overlay
from xcnn.figures.heat_tables import heat_tables
from xcnn.figures.interpretation import (
    Interpretation,
    PartPrototype,
    PrototypePatch,
    interpretation_sheet,
    part_prototypes,
)
from xcnn.figures.latency import Latency, latency_plot
from xcnn.figures.layer_sheets import SeenByFilter, layer_sheet
from xcnn.figures.plots import (
    AblationPoint,
    AccuracySeries,
    Cost,
    Curve,
    ablation_plot,
    cost_plot,
    curves_plot,
    score_ramp,
    tradeoff_plot,
)
from xcnn.figures.relevance_maps import PathRow, Scale, integration_path, jet_overlay, relevance_grid
from xcnn.figures.renderings import encircled, evidence_pictures, heat, proportionate, upscale
from xcnn.figures.signed_filters import signed_filters
from xcnn.figures.soft_tree import Step, soft_path_figure, soft_tree_figure
from xcnn.figures.style import save_png
from xcnn.figures.uncertainty import uncertainty_figure

__all__ = [
    "AblationPoint",
    "AccuracySeries",
    "BeforeAfter",
    "CombinedMaps",
    "Cost",
    "Curve",
    "EmbeddingPanel",
    "Estimate",
    "FilterView",
    "HeatMapRow",
    "Interpretation",
    "Latency",
    "Marks",
    "PartPrototype",
    "PathRow",
    "PrototypePatch",
    "Scale",
    "SeenByFilter",
    "Step",
    "SuccinctImage",
    "ablation_plot",
    "cost_plot",
    "curves_plot",
    "distinct_colours",
    "embedding_plot",
    "encircled",
    "evidence_pictures",
    "explanation_grid",
    "feature_map_progression",
    "filter_comparison",
    "heat",
    "heat_map_grid",
    "heat_tables",
    "integration_path",
    "interpretation_sheet",
    "jet_overlay",
    "kept_grid",
    "latency_plot",
    "layer_sheet",
    "overlay",
    "part_prototypes",
    "proportionate",
    "protocol_plot",
    "relevance_grid",
    "renderings_figure",
    "save_png",
    "score_ramp",
    "signed_filters",
    "soft_path_figure",
    "soft_tree_figure",
    "succinct_learning",
    "tradeoff_plot",
    "uncertainty_figure",
    "upscale",
]
