"""Temperature scaling (Guo et al. 2017): one number that makes a network's confidence fit how often it is right."""

import numpy as np
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from torch import Tensor

from xcnn.surrogates.conformal import check_labels

RANGE = (0.01, 100.0)  # of temperatures


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature T with which softmax(logits / T) has the least cross-entropy.

    Args:
        logits: (N, classes), of images that the network was not trained on.
        labels: (N,).

    Raises:
        UserError: labels that do not fit the logits.
    """
    check_labels(labels, logits)
    logits = logits.double()

    def loss(log_temperature: float) -> float:
        return float(F.cross_entropy(logits / float(np.exp(log_temperature)), labels))

    found = minimize_scalar(loss, bounds=np.log(RANGE), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))
