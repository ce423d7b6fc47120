#!/usr/bin/env bash
# llguidance 1.9.1: a request for wheels alone gives musl systems such as Alpine an empty package, version 0.0.1.
#
# Images are often built with `pip install --only-binary=:all:`, so that no compiler is needed. llguidance has no
# musllinux wheels; its first version, a placeholder on the index, is a wheel for any platform.
# Expected: a musllinux wheel of a current version, or the error that there is none.
# Seen: pip takes 0.0.1 and ends with status 0; the package is one empty file, so that the first use of a name fails.
# With a lower bound it is the error.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
cd "$folder"
download() {
    "$folder/venv/bin/pip" download --quiet --no-deps --only-binary=:all: --platform musllinux_1_2_x86_64 \
        --python-version 3.12 --implementation cp --dest "$1" "$2"
}
download any "llguidance<=1.9.1"
echo "expected a musllinux wheel of 1.9.1 or an error; seen $(ls any)"
if download bounded "llguidance>=1,<=1.9.1" 2>error; then
    echo "with a lower bound: seen $(ls bounded)"
    exit 1
fi
echo "with a lower bound: $(grep --only-matching "No matching distribution found.*" error)"
"$folder/venv/bin/python" - <<'PYTHON'
import zipfile
from pathlib import Path

wheels = [path.name for path in Path("any").iterdir()]
if wheels != ["llguidance-0.0.1-py3-none-any.whl"]:
    raise SystemExit(1)
rows = zipfile.ZipFile(Path("any", wheels[0])).infolist()
modules = {row.filename: row.file_size for row in rows if row.filename.endswith(".py")}
print("its modules and their sizes:", modules)
raise SystemExit(modules != {"llguidance/__init__.py": 0})
PYTHON
