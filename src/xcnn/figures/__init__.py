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
from xcnn.figures.plots import AblationPoint, ablation_plot, heat_table, score_ramp
from xcnn.figures.renderings import encircled, heat, proportionate, upscale
from xcnn.figures.style import save_png

__all__ = [
    "AblationPoint",
    "BeforeAfter",
    "CombinedMaps",
    "FilterView",
    "SuccinctImage",
    "ablation_plot",
    "encircled",
    "feature_map_progression",
    "filter_comparison",
    "heat",
    "heat_table",
    "proportionate",
    "renderings_figure",
    "save_png",
    "score_ramp",
    "signed_filters",
    "succinct_learning",
    "upscale",
]
