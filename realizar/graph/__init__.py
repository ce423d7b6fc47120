"""The static graph of a model: what an architecture records once per load, before any backend is chosen."""

from realizar.graph.builder import Graph
from realizar.graph.facts import WeightUse
from realizar.graph.ops import OpSpec
from realizar.graph.rope import RopeScaling, section_axes
from realizar.graph.values import Cache, Node, Rotation, State, Value

__all__ = ["Cache", "Graph", "Node", "OpSpec", "RopeScaling", "Rotation", "State", "Value", "WeightUse", "section_axes"]
