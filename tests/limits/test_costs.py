"""What loading costs in time and memory, each figure from fresh processes; medians are printed, the best must hold."""

import json
import os
import statistics
import subprocess
import sys

import pytest

from tests.limits.models import CODER, LLAMA, OTHERS, SMOLLM2, real

needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs Linux' /proc")
LATE = ("jinja2", "tokenizers", "typer", "rich", "sentencepiece")

IMPORT = """
import json, time
begin = time.perf_counter()
import realizar
print(json.dumps(time.perf_counter() - begin))
"""

PLUGINS = """
import json, time
import realizar
from realizar.arch import registry
points = registry.selected()
begin = time.perf_counter()
for point in points:
    point.load()
print(json.dumps([time.perf_counter() - begin, len(points)]))
"""

LOAD = """
import json, sys, time
import sentencepiece, tokenizers
from realizar import LLM
import realizar.tokenizer
begin = time.perf_counter()
llm = LLM(sys.argv[1])
opened = time.perf_counter() - begin
llm.tokenize("Hello")
print(json.dumps([opened, time.perf_counter() - begin]))
"""

FIRST = """
import json, sys, time
import sentencepiece, tokenizers
from realizar import LLM, SamplingParams
llm = LLM(sys.argv[1])
begin = time.perf_counter()
llm.generate([1, 2, 3], SamplingParams(max_tokens=1, ignore_eos=True))
print(json.dumps(time.perf_counter() - begin))
"""

MEMORY = """
import json, sys
import psutil, sentencepiece, tokenizers
from realizar import LLM, SamplingParams
rss = psutil.Process().memory_info
at_import = rss().rss
llm = LLM(sys.argv[1], n_ctx=2048, n_seqs=1)
before = rss().rss
llm.tokenize("Hello")
tokenizer = rss().rss - before
llm.generate([1 + i % 900 for i in range(2000)], SamplingParams(max_tokens=40, temperature=0.0, ignore_eos=True))
# Not ru_maxrss, which begins with what the parent had when it forked.
peak = next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmHWM"))
planned = llm.engine.runner.program(None).n_bytes
print(json.dumps([peak - at_import - tokenizer, tokenizer, llm.engine.cache.n_bytes, planned]))
"""

GIVEN_BACK = """
import gc, json, sys
import psutil
from realizar import LLM, SamplingParams
sizes = []
for i in range(6):
    with LLM(sys.argv[1]) as llm:
        llm.generate("Once upon a time", SamplingParams(max_tokens=8))
    del llm
    gc.collect()
    sizes.append(psutil.Process().memory_info().rss)
print(json.dumps(sizes))
"""


def measure(code, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def warm(path):
    """Bring a file into the page cache."""
    with open(path, "rb") as file:
        while file.read(1 << 20):
            pass


def test_import():
    seconds = [measure(IMPORT) for _ in range(5)]
    print(f"import realizar: median {statistics.median(seconds):.3f} s, best {min(seconds):.3f} s")
    assert min(seconds) <= 0.15


def test_import_of_the_plugins(tmp_path, monkeypatch):
    """Compiled once, as pip does when it installs; the best of several, since others use the machine too."""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path))
    measure(PLUGINS)
    seconds, counts = zip(*(measure(PLUGINS) for _ in range(7)), strict=True)
    print(f"import of {counts[0]} plugins: median {statistics.median(seconds):.4f} s, best {min(seconds):.4f} s")
    assert counts[0] >= 3
    assert min(seconds) <= 0.02


def test_import_needs_no_late_library_and_no_entry_points():
    code = (
        "import importlib.metadata, json, sys\n"
        "def refuse(**_): raise SystemExit('entry points were looked for')\n"
        "importlib.metadata.entry_points = refuse\n"
        "import realizar\nfrom realizar import LLM, SamplingParams\n"
        f"print(json.dumps([name for name in {LATE} if name in sys.modules]))"
    )
    assert measure(code) == []


@pytest.mark.parametrize(("model", "bound"), [(SMOLLM2, 0.3), (CODER, 0.6), *((path, 0.6) for path in OTHERS)])
def test_load(model, bound):
    path = real(model)
    warm(path)
    runs = [measure(LOAD, path) for _ in range(5)]
    opened, loaded = (sorted(column) for column in zip(*runs, strict=True))
    print(f"{model}: LLM(path) median {opened[2]:.3f} s, best {opened[0]:.3f}")
    print(f"{model}: to the end of tokenize() median {loaded[2]:.3f} s, best {loaded[0]:.3f}")
    assert opened[0] <= 0.1
    assert loaded[0] <= bound


@pytest.mark.parametrize("model", [SMOLLM2, CODER, *OTHERS])
def test_first_token(model):
    """The first request after loading, of three tokens; it also brings what is needed to turn tokens into text."""
    path = real(model)
    warm(path)
    seconds = sorted(measure(FIRST, path) for _ in range(5))
    print(f"{model}: first token of a prompt of three: median {seconds[2]:.3f} s, best {seconds[0]:.3f}")
    assert seconds[0] <= 0.5


@needs_proc
@pytest.mark.parametrize("model", [SMOLLM2, CODER, *OTHERS])
def test_memory(model):
    """Every page of the file once, the cache, what the plan says that values take, and little else."""
    path = real(model)
    rest, tokenizer, kv, planned = measure(MEMORY, path)
    allowed = 1.02 * path.stat().st_size + kv + planned + (32 << 20)
    parts = f"KV {kv >> 20}, planned {planned >> 20}"
    print(f"{model}: {rest / 2**20:.0f} of {allowed / 2**20:.0f} MiB ({parts}), tokenizer {tokenizer >> 20} MiB")
    assert rest <= allowed
    assert tokenizer <= 160 << 20


@pytest.mark.parametrize("model", ["tiny", SMOLLM2])
def test_memory_is_given_back(model):
    path = LLAMA if model == "tiny" else real(model)
    sizes = measure(GIVEN_BACK, path)
    print(f"{model}: MiB after each close: {[size >> 20 for size in sizes]}")
    assert sizes[-1] - sizes[1] <= 8 << 20


@needs_proc
def test_files_are_let_go():
    code = """
import gc, json, os, sys, time
from realizar import LLM
import numpy  # which may have threads of its own
at_import = len(os.listdir("/proc/self/task"))

def held():
    for _ in range(1000):  # a thread that was joined has left Python, and a moment later the system
        if len(os.listdir("/proc/self/task")) == at_import:
            break
        time.sleep(0.005)
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

LLM(sys.argv[1]).close()
before = held()
for i in range(20):
    with LLM(sys.argv[1], n_threads=2) as llm:
        llm.logits([1, 2, 3])
del llm
gc.collect()
print(json.dumps([before, held()]))
"""
    before, after = measure(code, LLAMA)
    assert after == before
