"""A network as a graph of pure operations that one may walk forwards and backwards, and run in parts."""

from xcnn.models.graph.affine import affine_nodes, is_affine
from xcnn.models.graph.changes import Change, channel_change, channels_change, patch_change
from xcnn.models.graph.in_place import OpaqueModule
from xcnn.models.graph.incremental import Incremental, Propagation
from xcnn.models.graph.receptive import ReceptiveField, receptive_fields
from xcnn.models.graph.subgraph import dominators, extract, needed_nodes, operation, size_nodes
from xcnn.models.graph.tracing import TracedNetwork, evaluation_copy

__all__ = [
    "Change",
    "Incremental",
    "OpaqueModule",
    "Propagation",
    "ReceptiveField",
    "TracedNetwork",
    "affine_nodes",
    "channel_change",
    "channels_change",
    "dominators",
    "evaluation_copy",
    "extract",
    "is_affine",
    "needed_nodes",
    "operation",
    "patch_change",
    "receptive_fields",
    "size_nodes",
]
