"""Python code run in separate processes; one that hangs dumps its stacks before the time limit of the test."""

import json
import os
import signal
import subprocess
import sys

SECONDS = 500

HEAD = """
import faulthandler, json, os, sys, threading
faulthandler.enable()
from realizar import LLM, SamplingParams
path, expected = sys.argv[1], json.loads(sys.argv[2])
PROMPTS = ["Once upon a time", "Hello", "def f(x):", "1, 2, 3, 4"]
GREEDY = SamplingParams(temperature=0.0, max_tokens=12, ignore_eos=True)

def texts(llm):
    return [c.text for c in llm.generate(PROMPTS, GREEDY)]
"""

EXPECTED = HEAD + "\nprint(json.dumps(texts(LLM(path, n_threads=1))))"


def run(folder, code, path, expected=None, before=(), **environment):
    """Run HEAD and code as a script; return the last line of its output, parsed as JSON.

    Parameters
    ----------
    folder : Path
        Where the script is written.
    code : str
    path : Path
        Of a model: `path` in the script.
    expected : object
        `expected` in the script.
    before : sequence of str
        A command that runs the script, such as taskset with its arguments.
    """
    script = folder / "script.py"
    script.write_text(HEAD + code)
    process = subprocess.Popen(
        [*before, sys.executable, str(script), str(path), json.dumps(expected)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment},
        start_new_session=True,
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGABRT)  # it and its children; each dumps its stacks
        out, err = process.communicate()
    assert process.returncode == 0, out + err
    return json.loads(out.splitlines()[-1])
