#!/usr/bin/env bash
# torch 2.13.0: a bicubic resize with antialiasing of a picture as float32 is up to 18 of 255 away from that as uint8.
#
# A pipeline that rescales to 0..1 before it resizes gets the float one, and one that resizes bytes, or uses Pillow, the
# other. A vision model is trained on one of the two.
# Expected: a difference by rounding, 1 of 255 at most, as it is for bilinear.
# Seen: at corners of black and white shapes more than 10 of 255. With uint8, as in Pillow, the numbers between the
# horizontal and the vertical pass are cut off at 0 and 255; with float32 the overshoot there goes into the second pass.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile torch==2.13.0 pillow==13.0.0 numpy==2.3.5
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import PIL
import torch
from PIL import Image

HEIGHT, WIDTH = 64, 64
squares = np.kron(np.random.default_rng(0).integers(0, 2, (20, 30)), np.full((4, 4), 255)).astype(np.uint8)


def resized(picture, filter):
    size = (HEIGHT, WIDTH)
    found = torch.nn.functional.interpolate(picture[None, None], size, mode=filter, antialias=True)[0, 0]
    return found.round().clamp(0, 255).numpy().astype(int) if found.is_floating_point() else found.numpy().astype(int)


print("torch", torch.__version__, "pillow", PIL.__version__)
apart = {}
for filter in ("bilinear", "bicubic"):
    pillow = np.asarray(Image.fromarray(squares).resize((WIDTH, HEIGHT), Image.Resampling[filter.upper()])).astype(int)
    whole = resized(torch.from_numpy(squares), filter)
    apart[filter] = abs(resized(torch.from_numpy(squares).float(), filter) - whole)
    print(f"{filter}: float32 and uint8 expected within 1 of 255, seen {apart[filter].max()};", end=" ")
    print(f"{(apart[filter] > 1).mean():.1%} of the numbers are further apart than 1;", end=" ")
    print(f"Pillow and uint8 are within {abs(pillow - whole).max()}")
    if abs(pillow - whole).max() > 1:
        raise SystemExit(1)
raise SystemExit(bool(apart["bilinear"].max() > 1 or apart["bicubic"].max() < 10))
PYTHON
