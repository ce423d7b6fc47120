"""Reading and writing GGUF files."""

from realizar.gguf.file import GGUFFile
from realizar.gguf.metadata import Metadata
from realizar.gguf.summary import summarize
from realizar.gguf.types import GGMLType, TensorInfo, ValueType
from realizar.gguf.writer import GGUFWriter

__all__ = ["GGMLType", "GGUFFile", "GGUFWriter", "Metadata", "TensorInfo", "ValueType", "summarize"]
