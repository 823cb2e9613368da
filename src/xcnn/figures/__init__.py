"""Drawing: arrays in, matplotlib figures out. Nothing here touches pyplot."""

from xcnn.figures.filter_grids import (
    BeforeAfter,
    CombinedMaps,
    FilterView,
    SuccinctImage,
    feature_map_progression,
    filter_comparison,
    renderings_figure,
    signed_filters,
    succinct_learning,
)
from xcnn.figures.heat_maps import (
    Cost,
    Curve,
    Estimate,
    HeatMapRow,
    cost_plot,
    curves_plot,
    explanation_grid,
    heat_map_grid,
    kept_grid,
    overlay,
    protocol_plot,
)
from xcnn.figures.plots import AblationPoint, ablation_plot, heat_table, score_ramp
from xcnn.figures.renderings import encircled, heat, proportionate, upscale
from xcnn.figures.style import save_png

__all__ = [
    "AblationPoint",
    "BeforeAfter",
    "CombinedMaps",
    "Cost",
    "Curve",
    "Estimate",
    "FilterView",
    "HeatMapRow",
    "SuccinctImage",
    "ablation_plot",
    "cost_plot",
    "curves_plot",
    "encircled",
    "explanation_grid",
    "feature_map_progression",
    "filter_comparison",
    "heat",
    "heat_map_grid",
    "heat_table",
    "kept_grid",
    "overlay",
    "proportionate",
    "protocol_plot",
    "renderings_figure",
    "save_png",
    "score_ramp",
    "signed_filters",
    "succinct_learning",
    "upscale",
]
