"""Memory use of a real vocabulary, measured in a separate process."""

import subprocess
import sys

import pytest

from tests.tokenizer.vocabularies import real

MEASURE = """
import sys, psutil
import tokenizers
from realizar.gguf import GGUFFile
from realizar.tokenizer import Tokenizer
me = psutil.Process()
before = me.memory_info().rss
file = GGUFFile(sys.argv[1])
tokenizer = Tokenizer.from_gguf(file.metadata)
tokenizer.encode("Hello world")
print(me.memory_info().rss - before)
"""


@pytest.mark.real_model
def test_memory_of_152k_tokens():
    path = real("qwen2.5-coder-0.5b")
    if not path.is_file():
        pytest.skip(f"the real model is not in the cache ({path}); realizar pull qwen2.5-coder-0.5b")
    done = subprocess.run([sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 160 << 20
