"""Python ends while a mask is computed, and waits: a thread that came back to no Python crashed one end in four."""

import subprocess
import sys

# The job goes on when Python has begun to end. It sleeps so that an end that does not wait comes first.
SCRIPT = """
import atexit, threading, time
from realizar.sampling.grammar.worker import Workers
worker, ends = Workers(), threading.Event()
worker.start()
atexit.register(ends.set)
worker.submit(lambda: ends.wait() and time.sleep(0.3) or print("done", flush=True))
print("ends", flush=True)
"""


def test_jobs_under_way_are_waited_for():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["ends", "done"]
