"""LightningModules, and the losses they minimise."""

from xcnn.training.classifier import Classifier
from xcnn.training.concise import ConcisePenalty, area, concise_terms, dispersion
from xcnn.training.fit import fit, load_weights

__all__ = ["Classifier", "ConcisePenalty", "area", "concise_terms", "dispersion", "fit", "load_weights"]
