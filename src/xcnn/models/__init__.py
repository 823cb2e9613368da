"""The networks, their weights, and the cutting of a network at a layer."""

from xcnn.models.backbones import Preprocessing, backbone
from xcnn.models.capture import capture
from xcnn.models.conv3 import conv3
from xcnn.models.depth import deep_network
from xcnn.models.dual_encoder import DualEncoder
from xcnn.models.fine_tuned import fine_tuned, recalibrate_batch_norm
from xcnn.models.fold import fold_batch_norm
from xcnn.models.generators import GeneratorPair
from xcnn.models.protopnet import ProtoPNet
from xcnn.models.split import Split, cuttable_layers, split_along, split_at, split_at_each
from xcnn.models.vgg import small_vgg16, vgg16_for
from xcnn.models.weights import load_weights, save_weights, weights_hash, weights_provenance

__all__ = [
    "DualEncoder",
    "GeneratorPair",
    "Preprocessing",
    "ProtoPNet",
    "Split",
    "backbone",
    "capture",
    "conv3",
    "cuttable_layers",
    "deep_network",
    "fine_tuned",
    "fold_batch_norm",
    "load_weights",
    "recalibrate_batch_norm",
    "save_weights",
    "small_vgg16",
    "split_along",
    "split_at",
    "split_at_each",
    "vgg16_for",
    "weights_hash",
    "weights_provenance",
]
