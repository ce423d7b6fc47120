#!/usr/bin/env bash
# gguf 0.19.0: quants.dequantize reads the numbers of a big-endian file, which GGUFReader has right, as little-endian.
#
# `dequantize(tensor.data, tensor.tensor_type)` is how programs get float32 from any tensor that GGUFReader lists.
# GGUFReader finds the byte order of the file by itself; its arrays of F32 and F16 have it in their dtype (">f4").
# Expected: the same floats of a little-endian and a big-endian file, or an error.
# Seen: dequantize takes the bytes as of the host's order, so that F32 and F16 become other numbers; no warning.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile gguf==0.19.0 numpy==2.3.5
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
from gguf import GGUFEndian, GGUFReader, GGUFWriter
from gguf.quants import dequantize

NUMBERS = np.linspace(-2, 2, 33, dtype=np.float32)
OTHER_ORDER = GGUFEndian.BIG if sys.byteorder == "little" else GGUFEndian.LITTLE


def right(order):
    """Whether each tensor's numbers are right as GGUFReader has them, and after dequantize."""
    writer = GGUFWriter("model.gguf", "llama", endianess=order)
    writer.add_tensor("f32", NUMBERS)
    writer.add_tensor("f16", NUMBERS.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = []
    for tensor in GGUFReader("model.gguf").tensors:
        numbers = dequantize(tensor.data, tensor.tensor_type)
        found += [np.array_equal(tensor.data, NUMBERS), np.array_equal(numbers, NUMBERS)]
        print(f"  {tensor.name}: data {tensor.data[:2]}, dequantize(data) {numbers[:2]}")
    return found


print("gguf", version("gguf"), "on a", sys.byteorder, "endian host; expected -2 and -1.875 everywhere")
print("the host's order:")
changed = right(GGUFEndian.LITTLE if OTHER_ORDER == GGUFEndian.BIG else GGUFEndian.BIG) != [True] * 4
print("the other order:")
changed |= right(OTHER_ORDER) != [True, False] * 2
raise SystemExit(changed)
PYTHON
