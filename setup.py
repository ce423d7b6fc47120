"""Builds the compiled subpackage: one extension per .pyx; C_SOURCES says which one links each C source."""

import os
import sys
import sysconfig
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup

DEPENDENCIES = [
    "numpy>=1.25",
    "pluggy>=1.5",
    "platformdirs>=4",
    "tokenizers>=0.21",
    "jinja2>=3.1.5",
    "typer>=0.20",
    "rich>=13",
]
DEPENDENCIES_WITHOUT_MUSL_WHEELS = ["sentencepiece>=0.2.1", "llguidance>=1.9,<2"]
"""They have no wheels for musl (Alpine), which no environment marker names, so wheels for musl do not require them."""
IS_MUSL = "musl" in (sysconfig.get_config_var("HOST_GNU_TYPE") or "")
LIMITED_API = (
    bool(os.environ.get("REALIZAR_LIMITED_API"))
    and sys.version_info >= (3, 11)  # the first whose limited API has the buffers that memoryviews need
    and not sysconfig.get_config_var("Py_GIL_DISABLED")
)
"""Whether the wheel is for this and all later versions of Python (docs/decisions/0080-wheels.md)."""

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
    "repack": ["repack.c"],
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
KERNEL_SOURCES = [
    f"{place}/{pattern}" for place in ("_kernels", "_kernels/testing", "_kernels/src") for pattern in ("*.pyx", "*.c")
]
KERNEL_SOURCES += [pattern.removeprefix("_kernels/") for pattern in KERNEL_SOURCES]
"""What is compiled; .pxd and .h are in a wheel for extensions of others that cimport."""


def extension(name: str) -> Extension:
    """One .pyx, by its module's name below the subpackage, with the C sources that it owns."""
    return Extension(
        f"realizar._kernels.{name}",
        [f"{KERNELS}/{name.replace('.', '/')}.pyx", *(f"{KERNELS}/src/{c}" for c in C_SOURCES.get(name, []))],
        include_dirs=[f"{KERNELS}/include"],
        define_macros=[("Py_LIMITED_API", "0x030B0000")] if LIMITED_API else [],
        py_limited_api=LIMITED_API,
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
    install_requires=DEPENDENCIES + ([] if IS_MUSL else DEPENDENCIES_WITHOUT_MUSL_WHEELS),
    packages=[*find_packages(include=["realizar", "realizar.*"]), "realizar_plugins"],
    package_data={
        "realizar": ["py.typed", "**/*.json", "**/*.toml", "**/*.pyi", "**/*.pxd", "**/*.h", "**/*.wgsl"],
        "realizar.quality": ["*.txt"],
        "realizar.server": ["web/dist/*"],
    },
    data_files=[("share/man/man1", sorted(map(str, Path("docs/man").glob("*.1"))))],
    exclude_package_data={
        "realizar": PAGE_SOURCES + KERNEL_SOURCES,
        "realizar.server": PAGE_SOURCES,
        "realizar._kernels": KERNEL_SOURCES,
        "realizar._kernels.testing": KERNEL_SOURCES,
    },
    ext_modules=cythonize(
        [extension(n) for n in names()],
        compiler_directives={
            "language_level": 3, "boundscheck": False, "wraparound": False, "freethreading_compatible": True,
            "linetrace": bool(os.environ.get("REALIZAR_TRACE")),
        },
    ),
    options={
        "build_ext": {"parallel": os.cpu_count()},
        "bdist_wheel": {"py_limited_api": "cp311"} if LIMITED_API else {},
    },
)  # fmt: skip
