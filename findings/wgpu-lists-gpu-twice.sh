#!/usr/bin/env bash
# wgpu 0.32.0: enumerate_adapters lists a GPU once for Vulkan and once for OpenGL, with the same name and ids.
#
# It needs a machine with drivers for both, such as Linux with Mesa, whose llvmpipe needs no graphics card.
# Expected: one entry for each device, or a documented key that tells which entries are one device.
# Seen: two entries with equal `device`, `vendor_id`, `device_id` and `adapter_type`, so that a program that shares
# layers among all that are listed uses a card twice. Only `backend_type` and `description` differ.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile wgpu==0.32.0
export XDG_RUNTIME_DIR="$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from collections import defaultdict

import wgpu

apis = defaultdict(list)
for adapter in wgpu.gpu.enumerate_adapters_sync():
    info = adapter.info
    apis[info["device"], info["vendor_id"], info["device_id"], info["adapter_type"]].append(info["backend_type"])
print("wgpu", wgpu.__version__)
for key, found in apis.items():
    print(f"{key}: expected 1 entry, seen {len(found)}: {found}")
raise SystemExit(not any({"Vulkan", "OpenGL"} <= set(found) for found in apis.values()))
PYTHON
