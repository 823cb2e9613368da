"""The networks, their weights, and the cutting of a network at a layer."""

from xcnn.models.capture import capture
from xcnn.models.conv3 import conv3
from xcnn.models.split import Split, cuttable_layers, split_at, split_at_each

__all__ = ["Split", "capture", "conv3", "cuttable_layers", "split_at", "split_at_each"]
