"""Types in a GGUF file: GGMLType of tensors, ValueType of metadata, and TensorInfo."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

from realizar.errors import ParameterError


class GGMLType(IntEnum):
    """ggml's tensor types: number, elements and bytes per quantization block (ggml.h, ggml-common.h).

    PQ2_0 and PTQ1_0 are those of PrismML's fork.

    Contains every type that a file can have, so that any file can be opened and listed. Computation is supported only
    for the formats in `realizar.quants`.

    Attributes
    ----------
    n_elements, n_bytes : int
        Elements and bytes of one quantization block; 1 element for unquantized types.
    """

    n_elements: int
    n_bytes: int

    def __new__(cls, value: int, n_elements: int = 1, n_bytes: int = 1) -> GGMLType:
        """Create a member from its row below; the defaults allow lookup by `GGMLType(number)`."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.n_elements = n_elements
        member.n_bytes = n_bytes
        return member

    F32 = 0, 1, 4
    F16 = 1, 1, 2
    Q4_0 = 2, 32, 18
    Q4_1 = 3, 32, 20
    Q5_0 = 6, 32, 22
    Q5_1 = 7, 32, 24
    Q8_0 = 8, 32, 34
    Q8_1 = 9, 32, 40
    Q2_K = 10, 256, 84
    Q3_K = 11, 256, 110
    Q4_K = 12, 256, 144
    Q5_K = 13, 256, 176
    Q6_K = 14, 256, 210
    Q8_K = 15, 256, 292
    IQ2_XXS = 16, 256, 66
    IQ2_XS = 17, 256, 74
    IQ3_XXS = 18, 256, 98
    IQ1_S = 19, 256, 50
    IQ4_NL = 20, 32, 18
    IQ3_S = 21, 256, 110
    IQ2_S = 22, 256, 82
    IQ4_XS = 23, 256, 136
    I8 = 24, 1, 1
    I16 = 25, 1, 2
    I32 = 26, 1, 4
    I64 = 27, 1, 8
    F64 = 28, 1, 8
    IQ1_M = 29, 256, 56
    BF16 = 30, 1, 2
    TQ1_0 = 34, 256, 54
    TQ2_0 = 35, 256, 66
    MXFP4 = 39, 32, 17
    NVFP4 = 40, 64, 36
    Q1_0 = 41, 128, 18
    Q2_0 = 42, 64, 18
    PQ2_0 = 142, 128, 34
    PTQ1_0 = 143, 128, 28

    def row_bytes(self, k: int) -> int:
        """Return the bytes of a row of k elements.

        Raises
        ------
        ParameterError
            If k is not a multiple of `n_elements`.
        """
        if k % self.n_elements:
            raise ParameterError(f"{self.name}: a row of {k} elements is not a multiple of {self.n_elements}")
        return k // self.n_elements * self.n_bytes


class ValueType(IntEnum):
    """Types of metadata values, numbered as in the GGUF specification."""

    UINT8 = 0
    INT8 = 1
    UINT16 = 2
    INT16 = 3
    UINT32 = 4
    INT32 = 5
    FLOAT32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9
    UINT64 = 10
    INT64 = 11
    FLOAT64 = 12


# Layout of fixed-size values: struct formats, which are also valid numpy type strings.
SCALARS: dict[ValueType, str] = {
    ValueType.UINT8: "<B",
    ValueType.INT8: "<b",
    ValueType.UINT16: "<H",
    ValueType.INT16: "<h",
    ValueType.UINT32: "<I",
    ValueType.INT32: "<i",
    ValueType.FLOAT32: "<f",
    ValueType.BOOL: "<B",
    ValueType.UINT64: "<Q",
    ValueType.INT64: "<q",
    ValueType.FLOAT64: "<d",
}


@dataclass(frozen=True)
class TensorInfo:
    """Name, shape, type and location of a tensor.

    Attributes
    ----------
    name : str
        For example "blk.0.ffn_up.weight".
    shape : tuple[int, ...]
        In numpy's order (reverse of GGUF's): a linear weight is (n_out, n_in). One to four non-zero dimensions.
    type : GGMLType
        Storage type of a row (the last dimension).
    offset : int
        Offset of the first byte from the start of the file (of its part, in a split model).
    n_bytes : int
        Size in the file.
    part : int
        Index of the part in a split model; 0 for a single file.
    """

    name: str
    shape: tuple[int, ...]
    type: GGMLType
    offset: int
    n_bytes: int
    part: int = 0

    @property
    def n_elements(self) -> int:
        """Product of the shape."""
        return math.prod(self.shape)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.type.row_bytes(self.shape[-1])
