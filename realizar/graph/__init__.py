"""The static graph of a model: what an architecture records once per load, before any backend is chosen."""

from realizar.graph.builder import Cache, Graph, Node, State, Value
from realizar.graph.rope import RopeScaling

__all__ = ["Cache", "Graph", "Node", "RopeScaling", "State", "Value"]
