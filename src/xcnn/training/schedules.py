"""Learning-rate schedules, per step."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR


def cosine(optimizer: Optimizer, total_steps: int, eta_min: float = 0.0) -> CosineAnnealingLR:
    """Cosine annealing from the optimiser's learning rate at the first step to `eta_min` after the last.

    Args:
        optimizer: optimiser whose learning rate is scheduled.
        total_steps: number of steps of the training.
        eta_min: final learning rate.
    """
    return CosineAnnealingLR(optimizer, T_max=total_steps, eta_min=eta_min)
