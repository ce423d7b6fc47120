#!/usr/bin/env bash
# gguf 0.19.0: gguf-new-metadata, which copies a file with some keys changed, flattens arrays of arrays in the others.
#
# GGUF allows arrays in arrays (specification: "Arrays can be nested"), and GGUFWriter writes them. GGUFReader keeps the
# types ARRAY, ARRAY, INT32 of such a key, and `contents()` loses the inner lengths.
# Expected: a copy whose other keys are those of the source, or an error.
# Seen: [[1, 2], [3, 4, 5]] becomes [1, 2, 3, 4, 5], an array of INT32; exit status 0 and no warning.
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
from gguf import GGUFReader, GGUFWriter

writer = GGUFWriter("source.gguf", "llama")
writer.add_array("x.nested", [[1, 2], [3, 4, 5]])
writer.add_tensor("t", np.zeros(4, np.float32))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()


def show(path):
    field = GGUFReader(path).fields["x.nested"]
    return [each.name for each in field.types], field.contents()


command = Path(sys.executable).with_name("gguf-new-metadata")
arguments = ["--force", "--general-name", "copy", "source.gguf", "copy.gguf"]
subprocess.run([command, *arguments], check=True, stderr=subprocess.DEVNULL)
print("gguf", version("gguf"))
print("source:", *show("source.gguf"))
print("copy:  ", *show("copy.gguf"))
print("expected: the same types of both; seen:", "the same" if show("source.gguf") == show("copy.gguf") else "others")
raise SystemExit(show("copy.gguf") != (["ARRAY", "INT32"], [1, 2, 3, 4, 5]))
PYTHON
