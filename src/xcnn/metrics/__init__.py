"""How good an explanation is."""

from xcnn.metrics.localisation import energy_inside, iou, pointing_game

__all__ = ["energy_inside", "iou", "pointing_game"]
