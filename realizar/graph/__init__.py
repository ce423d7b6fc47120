"""The static graph of a model: what an architecture records once per load, before any backend is chosen."""

from realizar.graph.builder import Graph
from realizar.graph.rope import RopeScaling
from realizar.graph.values import Cache, Node, State, Value

__all__ = ["Cache", "Graph", "Node", "RopeScaling", "State", "Value"]
