"""What an architecture plugin imports: Architecture, HParams, Weight, the hook marker and small shared pieces."""

from realizar.arch.architecture import (
    LAYER_NORM_EPS,
    Architecture,
    HParams,
    Weight,
    WeightRef,
    Weights,
    WeightTable,
    Windows,
)
from realizar.arch.checkpoint import Checkpoint
from realizar.arch.hookspecs import hookimpl
from realizar.arch.metadata import ArchMetadata
from realizar.graph import Graph, RopeScaling, Value

__all__ = [
    "LAYER_NORM_EPS",
    "ArchMetadata",
    "Architecture",
    "Checkpoint",
    "Graph",
    "HParams",
    "RopeScaling",
    "Value",
    "Weight",
    "WeightRef",
    "WeightTable",
    "Weights",
    "Windows",
    "hookimpl",
]
