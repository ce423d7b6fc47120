"""`realizar serve` as a process of its own, for clients whose environment need not have realizar."""

import os
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.clocks import wait_until

MODEL = "scripted"
N_CTX = 8192
PROMPT = "Q: Which is the capital of Italy? A:<|rome|>"
ANSWER = "The capital of Italy is Rome, as you know."
"""A prompt of completions that the script answers, and what it answers; also to a chat about anything."""
KEY = "sk-test"
TOO_LONG = "one two three four " * N_CTX


@dataclass
class Served:
    """A running server."""

    url: str
    key: str = KEY

    @property
    def v1(self) -> str:
        """The base URL of OpenAI's clients."""
        return f"{self.url}/v1"


def program() -> str:
    """Return the program `realizar`, which may be of another environment."""
    found = shutil.which("realizar")
    if found is None:
        raise FileNotFoundError("realizar: not found in PATH; these tests start its server")
    return found


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def write_model(path):
    """Write the scripted model, with the Python of the program `realizar`; returns its path."""
    python = Path(program()).with_name("python")
    subprocess.run([python, Path(__file__).with_name("scripted.py"), path], check=True)
    return path


@contextmanager
def served(model, log, *options):
    """Run a server on a free port of 127.0.0.1 until the block is left; it is ready.

    Parameters
    ----------
    model : Path
    log : Path
        File for what the server prints.
    *options : str
        Options of `realizar serve`.

    Raises
    ------
    RuntimeError
        If the server ends before it is ready.
    """
    port = _free_port()
    command = [program(), "serve", str(model), "--port", str(port), "--threads", "1", *options]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: _is_ready(url) or process.poll() is not None)
        if process.poll() is not None:
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{log.read_text()}")
        yield Served(url)
    finally:
        process.terminate()
        process.wait()


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/ready") as response:
            return response.status == 200
    except (urllib.error.URLError, ConnectionError):
        return False
