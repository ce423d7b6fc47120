"""Python ends while a mask is computed, and waits: a thread that came back to no Python crashed one end in four."""

import subprocess
import sys

SCRIPT = """
import time
from realizar.sampling.grammar.worker import Workers
worker = Workers()
worker.start()
worker.submit(lambda: time.sleep(0.3) or print("done", flush=True))
print("ends", flush=True)
"""


def test_jobs_under_way_are_waited_for():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["ends", "done"]
