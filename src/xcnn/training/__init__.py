"""LightningModules, and the losses they minimise."""

from xcnn.models.weights import load_weights
from xcnn.training.augment import FlipCrop, ResizedCrop
from xcnn.training.classifier import Classifier
from xcnn.training.concise import ConcisePenalty, area, concise_terms, dispersion
from xcnn.training.features import FeatureData, cached
from xcnn.training.fit import fit
from xcnn.training.protopnet import ProtoPNetTraining
from xcnn.training.rationales import RationaleTraining
from xcnn.training.right_reasons import Feedback, RightReasons
from xcnn.training.schedules import cosine
from xcnn.training.two_generators import GeneratorTraining

__all__ = [
    "Classifier",
    "ConcisePenalty",
    "FeatureData",
    "Feedback",
    "FlipCrop",
    "GeneratorTraining",
    "ProtoPNetTraining",
    "RationaleTraining",
    "ResizedCrop",
    "RightReasons",
    "area",
    "cached",
    "concise_terms",
    "cosine",
    "dispersion",
    "fit",
    "load_weights",
]
