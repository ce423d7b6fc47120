"""C harnesses and the functions that build and run them, with or without a sanitizer."""

from __future__ import annotations

import os
import shlex
import subprocess
import sysconfig
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KERNELS = HERE.parents[1] / "realizar" / "_kernels"
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter"]
FLAGS = ["-std=gnu11", "-O1", "-g", *WARNINGS, "-ffp-contract=off", "-fno-math-errno", "-pthread"]


def _compiler() -> list[str]:
    return shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[:1]


def _runs(directory: Path, flags: list[str]) -> bool:
    """Return whether a program built with these flags starts: the library of a sanitizer may be missing."""
    source, program = directory / "probe.c", directory / "probe"
    source.write_text("int main(void) { return 0; }\n")
    try:
        subprocess.run([*_compiler(), *flags, str(source), "-o", str(program)], check=True, capture_output=True)
        subprocess.run([str(program)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def build(directory: Path, harness: str, sources: list[str], sanitizer: str, *more_flags: str) -> Path:
    """Compile tests/native/`harness`.c with files of _kernels/src; skip the test if the sanitizer is missing."""
    flags = [f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all"] if sanitizer else []
    if not _runs(directory, flags):
        pytest.skip(f"{_compiler()[0]} builds no runnable program with {' '.join(flags) or 'default flags'}")
    program = directory / harness
    files = [str(HERE / f"{harness}.c"), *(str(KERNELS / "src" / name) for name in sources)]
    command = [*_compiler(), *FLAGS, *flags, *more_flags, f"-I{KERNELS / 'include'}", *files, "-o", str(program), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return program


def run(program: Path, *args: str) -> None:
    """Run a harness; assert that it succeeds, with its stderr as message."""
    done = subprocess.run([str(program), *args], capture_output=True, text=True)
    assert done.returncode == 0, f"{program.name} {' '.join(args)}: {done.returncode}\n{done.stderr[:4000]}"
