"""Python waits at exit for running masks: threads that returned from llguidance later crashed one exit in four."""

import subprocess
import sys

# The job still runs when Python exits. It sleeps, so that an exit that does not wait comes first.
SCRIPT = """
import atexit, threading, time
from realizar.sampling.grammar.worker import Workers
worker, ends = Workers(), threading.Event()
worker.start()
atexit.register(ends.set)
worker.submit(lambda: ends.wait() and time.sleep(0.3) or print("done", flush=True))
print("ends", flush=True)
"""


def test_exit_waits_for_running_jobs():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["ends", "done"]
