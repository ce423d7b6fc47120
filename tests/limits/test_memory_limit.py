"""A process with limited address space: a completion, or a RealizarError that says how much memory was requested."""

import sys

import pytest

from tests.limits.models import LLAMA, QWEN2
from tests.limits.scripts import run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_AS and /proc of Linux")

# Each limit is tried in a fresh child that has imported only the package.
SWEEP = """
import resource, warnings
warnings.simplefilter("ignore")
import tokenizers, sentencepiece, realizar.tokenizer
from realizar.errors import RealizarError

def ask(mib):
    taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + int(mib * 2**20),) * 2)
    try:
        with LLM(path, n_threads=2, n_ctx=1024, load=expected) as llm:
            llm.generate("Hello", SamplingParams(max_tokens=4, temperature=0.0))
        return "an answer"
    except RealizarError as error:
        return str(error)
    except BaseException as error:
        return f"untyped: {type(error).__name__}: {error}"

found = []
for mib in (0.1, 0.5, 1, 2, 3, 5, 8, 12, 18, 25, 40, 400):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, ask(mib)[:4000].encode())
        os._exit(0)
    os.close(writer)
    with open(reader) as file:
        found.append(file.read())
    assert os.waitpid(child, 0)[1] == 0, mib
print(json.dumps(found))
"""


@pytest.mark.parametrize("load", ["mmap", "read"])
@pytest.mark.parametrize("path", [LLAMA, QWEN2], ids=["llama", "qwen2"])
def test_every_limit_gives_a_completion_or_a_typed_error(path, load, tmp_path):
    found = run(tmp_path, SWEEP, path, load)
    assert [text for text in found if not text or text.startswith("untyped")] == []
    assert f"out of memory for its {path.stat().st_size / 2**20:.1f} MiB" in found[0]
    assert found[-1] == "an answer"
    assert len(set(found)) > 3
