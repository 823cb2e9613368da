"""An interpretable model in the network's place, and sets that say how sure it is."""

from xcnn.models.soft_tree import SoftDecisionTree
from xcnn.surrogates.conformal import ConformalSets, coverage_band, coverage_law, threshold
from xcnn.surrogates.rules import Rule, RuleSurrogate
from xcnn.surrogates.sparse_linear import SparseLinearSurrogate
from xcnn.surrogates.surrogate import Reason, Reasoning, Surrogate
from xcnn.surrogates.tcav import concept_vector, gradients, inner_products, tcav_scores
from xcnn.surrogates.temperature import fit_temperature
from xcnn.surrogates.tree import TreeSurrogate
from xcnn.surrogates.views import LastFeatures, Pixels, PrototypeDistances, View, decisions

__all__ = [
    "ConformalSets",
    "LastFeatures",
    "Pixels",
    "PrototypeDistances",
    "Reason",
    "Reasoning",
    "Rule",
    "RuleSurrogate",
    "SoftDecisionTree",
    "SparseLinearSurrogate",
    "Surrogate",
    "TreeSurrogate",
    "View",
    "concept_vector",
    "coverage_band",
    "coverage_law",
    "decisions",
    "fit_temperature",
    "gradients",
    "inner_products",
    "tcav_scores",
    "threshold",
]
