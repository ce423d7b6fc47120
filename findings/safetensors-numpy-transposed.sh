#!/usr/bin/env bash
# safetensors 0.8.0: safetensors.numpy saves a transposed array's memory with its new shape: other numbers, no error.
#
# `array.T` is what converters save when a checkpoint has a matrix the other way round. safetensors.torch refuses
# a tensor that is not contiguous. The documentation of safetensors.numpy asks for contiguous arrays; nothing checks it.
# Expected: the numbers of the array, or the error of safetensors.torch.
# Seen: a file that loads with the right shape and dtype, and the numbers in the order of the memory.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile safetensors==0.8.0 numpy==2.3.5 torch==2.13.0
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import numpy as np
import safetensors.numpy
import safetensors.torch
import torch

matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
print("safetensors", version("safetensors"), "numpy", np.__version__, "torch", torch.__version__)
changed = False
for name, array in (("transposed", matrix.T), ("Fortran order", np.asfortranarray(matrix))):
    loaded = safetensors.numpy.load(safetensors.numpy.save({"x": array}))["x"]
    in_memory = array.ravel(order="K").reshape(array.shape)
    try:
        safetensors.torch.save({"x": torch.from_numpy(array)})
        refused = False
    except ValueError as error:
        refused = "non contiguous" in str(error)
    what = "refuses it" if refused else "saves it"
    print(f"{name}: expected {array.tolist()} or an error, seen {loaded.tolist()}; safetensors.torch {what}")
    changed |= not refused or not np.array_equal(loaded, in_memory) or np.array_equal(loaded, array)
raise SystemExit(changed)
PYTHON
