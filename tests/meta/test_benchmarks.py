"""Every benchmark runs once, with its first parameters."""

import importlib
import subprocess
import sys

import pytest

from tests.meta.house import ROOT

MODULES = [p.stem for p in (ROOT / "asv_bench/benchmarks").glob("*.py") if p.stem not in ("__init__", "common")]


def first_parameters(cls):
    params = getattr(cls, "params", ())
    lists = params if params and isinstance(params[0], (list, tuple)) else ([params] if params else [])
    return [values[0] for values in lists]


@pytest.mark.slow  # .ci/run runs them after the suite
@pytest.mark.parametrize("module", MODULES)
def test_benchmarks_run(module, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "asv_bench"))
    found = importlib.import_module(f"benchmarks.{module}")
    classes = [c for c in vars(found).values() if isinstance(c, type) and c.__module__ == found.__name__]
    ran = 0
    for cls in classes:
        arguments = first_parameters(cls)
        benchmark = cls()
        try:
            getattr(benchmark, "setup", lambda *a: None)(*arguments)
        except NotImplementedError as reason:
            pytest.skip(str(reason))
        for name in dir(cls):
            kind = name.split("_")[0]
            if kind in ("time", "timeraw", "peakmem", "track"):
                result = getattr(benchmark, name)(*arguments)
                ran += 1
            if kind == "timeraw":  # code for a fresh interpreter, and what goes before it
                code = (result,) if isinstance(result, str) else result
                subprocess.run([sys.executable, "-c", "\n".join(reversed(code))], check=True)
        getattr(benchmark, "teardown", lambda *a: None)(*arguments)
    assert ran
