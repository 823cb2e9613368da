"""Which typical part: class-wise k-means on what a trained network says of its training images."""

from xcnn.prototypes.alignment import Alignment, alignment
from xcnn.prototypes.codebook import Codebook, load_codebooks, save_codebooks
from xcnn.prototypes.columns import Columns
from xcnn.prototypes.composite import BLOCK_WEIGHTS, composite
from xcnn.prototypes.encoder import Encoder
from xcnn.prototypes.encoder_explanation import EncoderExplained, EncoderExplanation
from xcnn.prototypes.k_means import KMeans, nearest
from xcnn.prototypes.kmex import KMEx, NearestPrototype
from xcnn.prototypes.merged_columns import MergedColumns, dominance, first_direction, fit_columns, random_columns
from xcnn.prototypes.patches import Patch, nearest_patches
from xcnn.prototypes.posthoc import Posthoc
from xcnn.prototypes.segments import class_attribution, propagated, segment_means

__all__ = [
    "BLOCK_WEIGHTS",
    "Alignment",
    "Codebook",
    "Columns",
    "Encoder",
    "EncoderExplained",
    "EncoderExplanation",
    "KMEx",
    "KMeans",
    "MergedColumns",
    "NearestPrototype",
    "Patch",
    "Posthoc",
    "alignment",
    "class_attribution",
    "composite",
    "dominance",
    "first_direction",
    "fit_columns",
    "load_codebooks",
    "nearest",
    "nearest_patches",
    "propagated",
    "random_columns",
    "save_codebooks",
    "segment_means",
]
