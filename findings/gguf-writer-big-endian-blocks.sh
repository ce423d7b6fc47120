#!/usr/bin/env bash
# gguf 0.19.0: GGUFWriter(endianess=BIG) leaves scales of quantized blocks little-endian; gguf-convert-endian does not.
#
# A block of Q8_0 is a float16 scale and 32 bytes, and ggml on a big-endian machine reads the scale in its own order.
# Expected: both tools of the package make the same big-endian file of one tensor.
# Seen: the writer swaps metadata, F32 and F16, equal to the other tool's; it writes Q8_0 and BF16, which are arrays of
# bytes to it, without a swap or a warning.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile gguf==0.19.0 numpy==2.3.5
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFEndian, GGUFReader, GGUFWriter
from gguf.quants import quantize

NUMBERS = np.linspace(-2, 2, 32, dtype=np.float32)


def write(path, order):
    writer = GGUFWriter(path, "llama", endianess=order)
    writer.add_tensor("F32", NUMBERS)
    writer.add_tensor("F16", NUMBERS.astype(np.float16))
    for kind in (GGMLQuantizationType.Q8_0, GGMLQuantizationType.BF16):
        writer.add_tensor(kind.name, quantize(NUMBERS, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


write("written.gguf", GGUFEndian.BIG)
write("converted.gguf", GGUFEndian.LITTLE)
command = Path(sys.executable).with_name("gguf-convert-endian")
subprocess.run([command, "converted.gguf", "big"], input="YES\n", text=True, check=True, capture_output=True)
readers = [GGUFReader(path) for path in ("written.gguf", "converted.gguf")]
start = readers[0].data_offset
heads = [Path(path).read_bytes()[:start] for path in ("written.gguf", "converted.gguf")]
print("gguf", version("gguf"), "; metadata of both files", "equal" if heads[0] == heads[1] else "differ")
seen = {}
for written, converted in zip(readers[0].tensors, readers[1].tensors, strict=True):
    pair = [each.data.tobytes() for each in (written, converted)]
    seen[written.name] = pair[0] == pair[1]
    print(f"{written.name}: expected equal bytes; seen {pair[0][:2].hex()}.. and {pair[1][:2].hex()}..")
raise SystemExit(heads[0] != heads[1] or seen != {"F32": True, "F16": True, "Q8_0": False, "BF16": False})
PYTHON
