"""Builds the compiled subpackage: one extension per .pyx; C_SOURCES says which one links each C source."""

import os
import sys
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup

KERNELS = "realizar/_kernels"
# Bitwise reproducible: no contraction of a*b+c (gcc would fuse even intrinsics), and no -march: the functions of
# each ISA level have a target attribute.
CFLAGS = ["/O2", "/std:c11"] if sys.platform == "win32" else [
    "-std=gnu11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden", "-Wall", "-Wextra",
    "-Wno-unused-parameter",
]  # fmt: skip
C_SOURCES = {
    "table": [
        "cpu.c",
        "resolve.c",
        "scalar.c",
        "avx2.c",
        "avxvnni.c",
        "avx512.c",
        "amx.c",
        "codebooks_iq1.c",
        "codebooks_iq2.c",
        "codebooks_iq3.c",
    ],
    "plan": [
        "exec.c",
        "exec_rows.c",
        "exec_linear.c",
        "exec_attention.c",
        "exec_index.c",
        "exec_route.c",
        "exec_experts.c",
        "exec_recurrent.c",
        "exec_heads.c",
        "exec_low_rank.c",
        "pool.c",
        "rope.c",
    ],
    "logit_scan": ["logit_rows.c"],
    "probe": ["probe.c"],
    "quantize": [
        "quantize.c",
        "quantize_scalar.c",
        "quantize_avx2.c",
        "quantize_avx512.c",
        "codebooks_iq1.c",
        "codebooks_iq2.c",
        "codebooks_iq3.c",
    ],
}

PAGE_SOURCES = [
    f"{place}/{pattern}"
    for place in ("server/web", "web")
    for pattern in ("*.json", "*.mjs", ".*", "src/*", "node_modules/*")
]
"""What of the chat page is not for a wheel; dist/ is (docs/web.md)."""


def extension(name: str) -> Extension:
    """One .pyx, by its module's name below the subpackage, with the C sources that it owns."""
    return Extension(
        f"realizar._kernels.{name}",
        [f"{KERNELS}/{name.replace('.', '/')}.pyx", *(f"{KERNELS}/src/{c}" for c in C_SOURCES.get(name, []))],
        include_dirs=[f"{KERNELS}/include", np.get_include()],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        extra_compile_args=CFLAGS + os.environ.get("REALIZAR_CFLAGS", "").split(),
        extra_link_args=os.environ.get("REALIZAR_LDFLAGS", "").split()
        + ([] if sys.platform == "win32" else ["-pthread"]),
        depends=[os.path.join(root, f) for root, _, files in os.walk(f"{KERNELS}/include") for f in files],
    )


def names() -> list[str]:
    """The .pyx files of the compiled subpackage, as modules below it."""
    files = [path.relative_to(KERNELS).with_suffix("") for path in Path(KERNELS).rglob("*.pyx")]
    return sorted(".".join(file.parts) for file in files)


setup(
    packages=[*find_packages(include=["realizar", "realizar.*"]), "realizar_plugins"],
    package_data={
        "realizar": ["py.typed", "**/*.json", "**/*.toml", "**/*.pyi", "**/*.pxd", "**/*.h", "**/*.wgsl"],
        "realizar.quality": ["*.txt"],
        "realizar.server": ["web/dist/*"],
    },
    exclude_package_data={"realizar": PAGE_SOURCES, "realizar.server": PAGE_SOURCES},
    ext_modules=cythonize(
        [extension(n) for n in names()],
        compiler_directives={
            "language_level": 3, "boundscheck": False, "wraparound": False, "freethreading_compatible": True,
            "linetrace": bool(os.environ.get("REALIZAR_TRACE")),
        },
    ),
    options={"build_ext": {"parallel": os.cpu_count()}},
)  # fmt: skip
