"""The cost of loading: modules, pages of the file and memory, each counted in a fresh process."""

import json
import os
import subprocess
import sys

import pytest

from tests.limits.models import CODER, LLAMA, OTHERS, SMOLLM2, real

needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs Linux' /proc")
LATE = ("jinja2", "tokenizers", "typer", "rich", "sentencepiece")

PLUGINS = """
import json, sys
from realizar.arch import registry
points = registry.selected()
before = set(sys.modules)
for point in points:
    point.load()
print(json.dumps([len(points), sorted(set(sys.modules) - before)]))
"""

ONE_PLUGIN = """
import importlib.metadata, json, sys
def refuse(**_): raise SystemExit("entry points were looked for")
importlib.metadata.entry_points = refuse
from realizar import LLM
with LLM(sys.argv[1]) as llm:
    llm.tokenize("Hello")
print(json.dumps([name for name in sys.modules if name.startswith("realizar_plugins.")]))
"""

HPARAMS = """
import json
from realizar.arch import HParams, registry
found = registry.default().architectures
n = len(found)

def subclasses(cls):
    return {cls}.union(*map(subclasses, cls.__subclasses__()))

leaves = [cls for cls in subclasses(HParams) if not cls.__subclasses__()]
print(json.dumps([n, len(leaves), [cls.__name__ for cls in leaves if "__dataclass_fields__" in vars(cls)]]))
"""

# The file is in memory, with the header of the model and a hole in the place of its weights, since a hole takes a page
# for each one that is accessed. Resident pages of the model itself would be too many: a page fault maps all pages of
# the page cache's folio, which may have a megabyte.
LOAD = """
import json, os, sys
from realizar import LLM
from realizar.gguf import GGUFFile

path = sys.argv[1]
with GGUFFile(path) as file:
    first = min(tensor.offset for tensor in file.tensors.values())
copy = os.memfd_create("model")
with open(path, "rb") as file:
    os.write(copy, file.read(first))
os.ftruncate(copy, os.path.getsize(path))
llm = LLM(f"/proc/self/fd/{copy}")
accessed = os.fstat(copy).st_blocks * 512
print(json.dumps([accessed, first, [name for name in ("jinja2", "sentencepiece") if name in sys.modules]]))
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
# Not ru_maxrss, which starts at the parent's size at the fork.
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


def test_a_plugin_imports_only_the_plugin_api():
    n, modules = measure(PLUGINS)
    assert n >= 3
    assert [
        name for name in modules if not name.startswith(("realizar_plugins", "realizar.arch", "realizar.graph"))
    ] == []


def test_a_model_imports_one_plugin():
    assert measure(ONE_PLUGIN, LLAMA) == ["realizar_plugins.llama"]


def test_importing_all_plugins_makes_no_dataclasses():
    """Most of the time of the import was once spent in them."""
    n_architectures, n_classes, made = measure(HPARAMS)
    assert (n_architectures > 90, n_classes > 30, made) == (True, True, [])


def test_import_loads_no_optional_library_and_no_entry_points():
    code = (
        "import importlib.metadata, json, sys\n"
        "def refuse(**_): raise SystemExit('entry points were looked for')\n"
        "importlib.metadata.entry_points = refuse\n"
        "import realizar\nfrom realizar import LLM, SamplingParams\n"
        f"print(json.dumps([name for name in {LATE} if name in sys.modules]))"
    )
    assert measure(code) == []


@needs_proc
@pytest.mark.parametrize("model", [SMOLLM2, CODER, *OTHERS])
def test_load_reads_no_weights(model):
    """Pages that are accessed: the header and a few vectors. jinja2 and sentencepiece are not imported."""
    path = real(model)
    accessed, header, late = measure(LOAD, path)
    print(f"{model}: {accessed >> 10} KiB of {path.stat().st_size >> 20} MiB read; the header has {header >> 10}")
    assert header <= accessed <= header + 0.02 * path.stat().st_size
    assert late == []


@needs_proc
@pytest.mark.slow  # test_plan.py measures the sum
@pytest.mark.parametrize("model", [SMOLLM2, CODER, *OTHERS])
def test_memory(model):
    """Every page of the file once, the KV cache, the planned memory of values, and little else."""
    path = real(model)
    rest, tokenizer, kv, planned = measure(MEMORY, path)
    allowed = 1.02 * path.stat().st_size + kv + planned + (32 << 20)
    parts = f"KV {kv >> 20}, planned {planned >> 20}"
    print(f"{model}: {rest / 2**20:.0f} of {allowed / 2**20:.0f} MiB ({parts}), tokenizer {tokenizer >> 20} MiB")
    assert rest <= allowed
    assert tokenizer <= 160 << 20


@pytest.mark.parametrize("model", ["tiny", pytest.param(SMOLLM2, marks=pytest.mark.slow)])
def test_memory_is_released(model):
    path = LLAMA if model == "tiny" else real(model)
    sizes = measure(GIVEN_BACK, path)
    print(f"{model}: MiB after each close: {[size >> 20 for size in sizes]}")
    assert sizes[-1] - sizes[1] <= 8 << 20


@needs_proc
@pytest.mark.parametrize("kept", ["nothing", "the engines"])
def test_files_and_threads_are_released(kept):
    code = """
import gc, json, os, sys
from realizar import LLM
import numpy  # which may have threads of its own
at_import = len(os.listdir("/proc/self/task"))

def held():
    while len(os.listdir("/proc/self/task")) != at_import:  # a thread that was joined leaves the system a moment later
        os.sched_yield()
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

LLM(sys.argv[1]).close()
before, engines = held(), []
for i in range(20):
    with LLM(sys.argv[1], n_threads=2) as llm:
        llm.logits([1, 2, 3])
        if sys.argv[2] == "the engines":
            engines.append(llm.engine)
del llm
gc.collect()
print(json.dumps([before, held()]))
"""
    before, after = measure(code, LLAMA, kept)
    assert after == before
