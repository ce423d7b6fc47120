"""Soak test of `realizar serve`: 64 clients, most of them bad ones, leave nothing behind in the server.

    python -m tests.tools.soak_server --requests 500
    python -m tests.tools.soak_server --seconds 1800 --health-ms 50

Every request is answered, or fails in a way that its client expects; in the end no request, block, thread or file
handle is left, and the memory has not grown since a sixth of the run. Last, the server is killed while it works and
saves, and another one begins at the same port with the same files. tests/server/test_soak_server.py runs some hundred
requests, `.ci/full soak_server` half an hour.
"""

import argparse
import asyncio
import contextlib
import itertools
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import psutil

from tests.server.serving import QUESTION, write_model
from tests.tools.soak_clients import CHAT, KEY, Client, Unexpected

SERVE = [sys.executable, "-c", "from realizar.cli import main; raise SystemExit(main())", "serve"]
OPTIONS = {
    "-t": 1, "--n-ctx": 1024, "--n-seqs": 4, "--max-body": 0.5, "--max-queue": 40, "--timeout": 30,
    "--log-level": "warning", "--api-key": "soak",
}  # fmt: skip
N_CLIENTS = 64
GROWTH = 0.02
"""How much the memory may grow after a sixth of the run; it settles in some 2000 requests."""
READER = """
import httpx, sys
with httpx.stream("POST", sys.argv[1], json={"messages": [{"role": "user", "content": "Hi"}], "stream": True,
                  "ignore_eos": True, "max_tokens": 400}, headers={"Authorization": "Bearer soak"}, timeout=None) as r:
    print("begun", flush=True)
    for _ in r.iter_bytes(): pass
"""
"""A client in a process of its own, which is stopped while it reads."""


class Watch:
    """Measures the server while it works.

    Parameters
    ----------
    url : str
    process : psutil.Process
    """

    def __init__(self, url, process):
        self.process = process
        self.http = httpx.AsyncClient(base_url=url, headers=KEY, timeout=90)
        self.health_s = []
        self.rss = []

    async def run(self):
        """Ask for /health four times a second; note the memory."""
        while True:
            begin = time.perf_counter()
            (await self.http.get("/health")).raise_for_status()
            self.health_s.append(time.perf_counter() - begin)
            self.rss.append((time.perf_counter(), self.process.memory_info().rss))
            await asyncio.sleep(0.25)

    async def gauges(self):
        """Return the metrics that are 0 in an idle server."""
        text = (await self.http.get("/metrics")).text
        names = ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc", "swapped_bytes")
        return {name: float(re.search(rf":{name}\{{.*\}} (\S+)", text)[1]) for name in names}

    async def until_idle(self):
        """Wait until nothing is computed; only the time limit of the caller ends the wait."""
        while any((await self.gauges()).values()):
            await asyncio.sleep(0.1)

    def handles(self):
        """Count files and sockets, but for connections that wait to be used again."""
        return self.process.num_fds() - sum(c.status == "ESTABLISHED" for c in self.process.net_connections("tcp"))

    def growth(self):
        """Return how much the memory grew between a sixth of the run and its end, each the median of some samples."""
        first, last = self.rss[0][0], self.rss[-1][0]
        settled = [rss for t, rss in self.rss if t >= first + (last - first) / 6]
        n = max(1, len(settled) // 20)
        before, after = (sorted(part)[len(part) // 2] for part in (settled[:n], settled[-n:]))
        return after / before - 1


async def stop_and_go(url, counts):
    """Stop clients in the middle of a stream, for ever or for a while."""
    for i in itertools.count():
        reader = await asyncio.create_subprocess_exec(sys.executable, "-c", READER, url + CHAT, stdout=-1, stderr=-3)
        try:
            begun = await reader.stdout.readline()
            reader.send_signal(signal.SIGSTOP)
            await asyncio.sleep(2)
            if i % 2 and begun:
                reader.send_signal(signal.SIGCONT)
                await reader.wait()
                counts["stopped: went on" if reader.returncode == 0 else "stopped: refused"] += 1
        finally:
            if reader.returncode is None:
                reader.kill()
                counts["stopped: killed"] += 1
            await reader.wait()


@contextlib.contextmanager
def served(model, port, *more):
    """Run `realizar serve`; yields its process and URL."""
    options = [str(word) for pair in {**OPTIONS, "--port": port}.items() for word in pair]
    with open(f"{model}.log", "a") as log:  # no pipe, which a server could fill
        process = subprocess.Popen([*SERVE, str(model), *options, *more], stderr=log)
    try:
        if not port:
            port = next(c.laddr.port for c in iter_until(lambda: listening(process.pid)))
        url = f"http://127.0.0.1:{port}"
        while not is_ready(url):
            if process.poll() is not None:
                raise Unexpected(f"the server ended: {log_of(model)}")
            time.sleep(0.05)
        yield process, url
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def log_of(model):
    """Return what the servers of a model have logged."""
    return Path(f"{model}.log").read_text()


def listening(pid):
    """Return the sockets on which a process listens."""
    return [c for c in psutil.Process(pid).net_connections("tcp") if c.status == "LISTEN"]


def iter_until(find):
    """Return what `find` finds, once that is something."""
    while not (found := find()):
        time.sleep(0.05)
    return iter(found)


def is_ready(url):
    """Whether a server answers requests."""
    try:
        return httpx.get(f"{url}/ready").status_code == 200
    except httpx.TransportError:
        return False


async def soak(url, process, n, seconds, seed):
    """Let the clients act, n times in all or for so many seconds; return counts, faults and measurements."""
    counts, faults, watch = Counter(), [], Watch(url, psutil.Process(process.pid))
    clients = [Client(url, seed + i, counts, faults) for i in range(N_CLIENTS)]
    await asyncio.gather(*(client.uses_other_endpoints() for client in clients[:8]))  # loads what is loaded late
    await watch.until_idle()
    handles, threads = watch.handles(), watch.process.num_threads()
    ends, left = time.perf_counter() + (seconds or 0), itertools.count(1)

    async def act(client):
        while next(left) <= n if seconds is None else time.perf_counter() < ends:
            await client.act()

    others = [asyncio.create_task(watch.run()), asyncio.create_task(stop_and_go(url, counts))]
    try:
        await asyncio.gather(*(act(client) for client in clients))
    finally:
        for task in others:
            task.cancel()
        ended = await asyncio.gather(*others, return_exceptions=True)
        await asyncio.gather(*(client.http.aclose() for client in clients))
    for error in ended:
        if not isinstance(error, asyncio.CancelledError):
            raise error
    await watch.until_idle()
    left_over = {
        "handles": watch.handles() - handles,
        "threads": max(0, watch.process.num_threads() - threads - 8),  # asyncio's own pool grows to its size
    }
    await watch.http.aclose()
    return counts, faults + [f"{n} {name} left over" for name, n in left_over.items() if n], watch


def kill_and_restart(model, folder):
    """Kill a server while it answers and saves a slot; begin another at its port; return what is wrong then."""
    body = {"messages": QUESTION, "max_tokens": 200, "ignore_eos": True, "id_slot": 0, "temperature": 0}
    options = ("--slot-save-path", str(folder))
    with served(model, 0, *options) as (process, url), httpx.Client(base_url=url, headers=KEY, timeout=90) as http:
        want = http.post(CHAT, json=body).json()["choices"]
        http.post("/slots/0?action=save", json={"filename": "whole"}).raise_for_status()
        before = (folder / "whole").read_bytes()
        begun = threading.Event()
        threads = [threading.Thread(target=work, args=(url, body, begun)) for work in (save_for_ever, read)]
        for thread in threads:
            thread.start()
        begun.wait()
        process.kill()
        for thread in threads:
            thread.join()
        port = httpx.URL(url).port
    faults = [] if (folder / "whole").read_bytes() == before else ["a saved slot was lost"]
    with served(model, port, *options) as (_, url), httpx.Client(base_url=url, headers=KEY, timeout=90) as http:
        for path in sorted(folder.glob("[!.]*")):  # each is whole, or not there
            status = http.post("/slots/0?action=restore", json={"filename": path.name}).status_code
            faults += [] if status == 200 else [f"restoring {path.name}: {status}"]
        answer = http.post(CHAT, json=body).json()
        faults += [] if answer["choices"] == want else ["another answer after a restart"]
        if not answer["usage"]["prompt_tokens_details"]["cached_tokens"]:
            faults.append("nothing of a saved slot was used")
    return faults


def save_for_ever(url, body, begun):
    """Save slots until the server is gone."""
    with contextlib.suppress(httpx.TransportError), httpx.Client(base_url=url, headers=KEY, timeout=90) as http:
        for i in itertools.count():
            http.post("/slots/0?action=save", json={"filename": f"file-{i % 3}"})
            if i == 5:
                begun.set()


def read(url, body, begun):
    """Read a stream until the server is gone."""
    with contextlib.suppress(httpx.TransportError), httpx.Client(base_url=url, headers=KEY, timeout=90) as http:
        while True:
            http.post(CHAT, json=body)


def main(arguments):
    """Run the soak test; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--seconds", type=float, help="in place of a number of requests")
    parser.add_argument("--health-ms", type=float, help="fail if /health ever took longer: on a quiet machine")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "slots").mkdir()
        model = write_model(folder / "tiny.gguf")
        with served(model, 0) as (process, url):
            counts, faults, watch = asyncio.run(soak(url, process, given.requests, given.seconds, given.seed))
            process.send_signal(signal.SIGTERM)
            status = process.wait()
        faults += kill_and_restart(model, folder / "slots")
        log = log_of(model)
    health, growth = sorted(watch.health_s), watch.growth()
    for name, count in sorted(counts.items()):
        print(f"{count:7} {name}")
    print(
        f"{counts.total()} requests; /health: median {1e3 * health[len(health) // 2]:.1f} ms, "
        f"p99 {1e3 * health[len(health) * 99 // 100]:.1f} ms, most {1e3 * health[-1]:.1f} ms; "
        f"memory: {watch.rss[-1][1] >> 20} MiB, {growth:+.1%}"
    )
    if status:
        faults.append(f"the server's exit status is {status}")
    if given.seconds is not None and growth > GROWTH:  # in a short run, much is used for the first time
        faults.append(f"the memory grew by {growth:.1%}")
    if given.health_ms is not None and 1e3 * health[-1] > given.health_ms:
        faults.append(f"/health took {1e3 * health[-1]:.0f} ms")
    if "Traceback" in log:
        faults.append(f"the log has a traceback: {log}")
    for text in faults[:20]:
        print(f"soak_server: {text}", file=sys.stderr)
    return int(bool(faults))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
