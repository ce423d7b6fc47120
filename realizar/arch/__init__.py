"""The API for architecture plugins: Architecture, HParams, Weight, Graph and the hook marker."""

from realizar.arch.architecture import (
    LAYER_NORM_EPS,
    RMS_NORM_EPS,
    Architecture,
    Weight,
    WeightRef,
    Weights,
    WeightTable,
)
from realizar.arch.checkpoint import Checkpoint
from realizar.arch.hookspecs import hookimpl
from realizar.arch.hparams import HParams, Windows
from realizar.arch.metadata import ArchMetadata, mrope_axes
from realizar.arch.projector import Projector, Tile, VisionHParams
from realizar.arch.sound_projector import SoundHParams, SoundProjector, SoundTile
from realizar.errors import GGUFError, PictureError
from realizar.graph import Graph, RopeScaling, Value

__all__ = [
    "LAYER_NORM_EPS",
    "RMS_NORM_EPS",
    "ArchMetadata",
    "Architecture",
    "Checkpoint",
    "GGUFError",
    "Graph",
    "HParams",
    "PictureError",
    "Projector",
    "RopeScaling",
    "SoundHParams",
    "SoundProjector",
    "SoundTile",
    "Tile",
    "Value",
    "VisionHParams",
    "Weight",
    "WeightRef",
    "WeightTable",
    "Weights",
    "Windows",
    "hookimpl",
    "mrope_axes",
]
