"""The networks, their weights, and the cutting of a network at a layer."""

from xcnn.models.backbones import Preprocessing, backbone
from xcnn.models.capture import capture
from xcnn.models.conv3 import conv3
from xcnn.models.split import Split, cuttable_layers, split_at, split_at_each
from xcnn.models.weights import load_weights, save_weights

__all__ = [
    "Preprocessing",
    "Split",
    "backbone",
    "capture",
    "conv3",
    "cuttable_layers",
    "load_weights",
    "save_weights",
    "split_at",
    "split_at_each",
]
