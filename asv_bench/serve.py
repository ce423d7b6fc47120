"""Compares `realizar serve` with llama-server under the load of several clients, as paired ratios in one run.

    python asv_bench/serve.py qwen2.5-coder-0.5b --llama-server ~/llama.cpp/build/bin/llama-server --clients 1 4 16
    taskset -c 2,3 python asv_bench/serve.py qwen2.5-coder-0.5b --cpus 0,1 --llama-server ...

Each of the clients sends one streamed request after another to /v1/completions: a beginning that all share, its own
rest, and an answer of `--answer` tokens. Both servers are started with as many parallel sequences as there are clients,
a context of 512 tokens for each, and the same file and threads. They take turns, A B A B (in reverse order in every
other round); the one that waits is stopped (SIGSTOP). New texts are used in each turn, so that only the shared
beginning is cached. A turn that warms the cache up is not counted.

tok/s    Generated tokens of all clients per second.
ttft     95th percentile of the seconds from sending a request to its first event with text.
engine   The same requests in AsyncLLM, in this process and without HTTP: what HTTP and JSON cost. Only with `--engine`.

The clients share the CPUs of the machine with the server, unless `--cpus` and taskset separate them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median

import httpx
from intervals import median_interval

from realizar import AsyncLLM, SamplingParams
from realizar.store import resolve

CONTEXT = 512  # tokens of one sequence
WORDS = ("list", "file", "sort", "number", "value", "name", "key", "test", "line", "word", "item", "count", "path")
OURS, LLAMA_SERVER, ENGINE = "realizar", "llama-server", "engine"


@dataclass(frozen=True)
class Load:
    """How many clients send what."""

    clients: int
    requests: int  # of each client
    shared: int  # words that all prompts begin with; each is about one token
    own: int
    answer: int

    def prompt(self, random: Random) -> str:
        """Return a new prompt."""
        return " ".join([*Random(0).choices(WORDS, k=self.shared), *random.choices(WORDS, k=self.own)])


@dataclass(frozen=True)
class Result:
    """What the clients of one turn saw."""

    tokens_per_s: float
    ttft_s: float  # 95th percentile


class Server:
    """A server process; stopped while it waits for its turn."""

    def __init__(self, command: list[str], port: int, cpus: str | None) -> None:
        pinned = ["taskset", "-c", cpus, *command] if cpus else command
        self.url = f"http://127.0.0.1:{port}"
        self._name = command[0]
        self.process = subprocess.Popen(pinned, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def wait(self, path: str) -> None:
        """Wait until it answers requests."""
        for _ in range(600):
            if self.process.poll() is not None:
                raise SystemExit(f"{self._name}: ended with status {self.process.returncode}")
            try:
                if httpx.get(self.url + path).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        raise SystemExit(f"{self._name}: not ready after two minutes")

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Let it run."""
        self.process.send_signal(signal.SIGCONT)
        yield
        self.process.send_signal(signal.SIGSTOP)

    def stop(self) -> None:
        """End it."""
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()


class HTTP:
    """Requests to a server."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url

    async def stream(self, prompt: str, n_tokens: int) -> AsyncIterator[None]:
        """Yield once for each event with text."""
        body = {"model": "m", "prompt": prompt, "max_tokens": n_tokens, "temperature": 0, "ignore_eos": True,
                "stream": True}  # fmt: skip
        async with self._client.stream("POST", f"{self._url}/v1/completions", json=body) as response:
            if response.status_code != 200:
                raise SystemExit(f"{self._url}: {response.status_code} {(await response.aread()).decode()[:500]}")
            async for line in response.aiter_lines():
                if line.startswith("data: {") and json.loads(line[6:])["choices"][0].get("text"):
                    yield


class InProcess:
    """Requests to an AsyncLLM."""

    def __init__(self, llm: AsyncLLM) -> None:
        self._llm = llm

    async def stream(self, prompt: str, n_tokens: int) -> AsyncIterator[None]:
        """Yield once for each piece of text."""
        params = SamplingParams(temperature=0, max_tokens=n_tokens, ignore_eos=True)
        async for piece in self._llm.stream(prompt, params):
            if piece:
                yield


async def run(target: HTTP | InProcess, load: Load, seed: int) -> Result:
    """Run all clients to their end."""
    first: list[float] = []

    async def client(number: int) -> None:
        random = Random(seed * 1000 + number)
        for _ in range(load.requests):
            begin, seen = time.perf_counter(), False
            async for _ in target.stream(load.prompt(random), load.answer):
                if not seen:
                    first.append(time.perf_counter() - begin)
                seen = True

    begin = time.perf_counter()
    await asyncio.gather(*map(client, range(load.clients)))
    seconds = time.perf_counter() - begin
    first.sort()
    n_tokens = load.clients * load.requests * load.answer
    return Result(n_tokens / seconds, first[min(len(first) - 1, int(0.95 * len(first)))])


async def over_http(server: Server, load: Load, seed: int) -> Result:
    """One turn of a server."""
    limits = httpx.Limits(max_connections=None)
    with server.turn():
        async with httpx.AsyncClient(timeout=600, limits=limits, trust_env=False) as client:
            return await run(HTTP(client, server.url), load, seed)


async def in_process(llm: AsyncLLM, load: Load, seed: int) -> Result:
    """One turn of the engine."""
    return await run(InProcess(llm), load, seed)


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def start(name: str, model: Path, load: Load, args: argparse.Namespace) -> Server:
    """Start one of the servers."""
    port, n = free_port(), load.clients
    commands = {
        OURS: [sys.executable, "-m", "realizar", "serve", str(model), "--port", str(port), "-t", str(args.threads),
               "--n-seqs", str(n), "--n-ctx", str(CONTEXT), "--activations", args.activations,
               "--log-level", "error", "--alias", "m"],
        LLAMA_SERVER: [str(args.llama_server), "-m", str(model), "--port", str(port), "-t", str(args.threads),
                       "-tb", str(args.threads), "-np", str(n), "-c", str(CONTEXT * n), "--no-webui"],
    }  # fmt: skip
    server = Server(commands[name], port, args.cpus)
    server.wait("/ready" if name == OURS else "/health")
    server.process.send_signal(signal.SIGSTOP)
    return server


def measure(model: Path, load: Load, args: argparse.Namespace) -> dict[str, list[Result]]:
    """Return the results of each round."""
    names = [OURS, *([LLAMA_SERVER] if args.llama_server else []), *([ENGINE] if args.engine else [])]
    results: dict[str, list[Result]] = {name: [] for name in names}
    with ExitStack() as stack:
        servers: dict[str, Server] = {}
        for name in names:
            if name != ENGINE:
                servers[name] = start(name, model, load, args)
                stack.callback(servers[name].stop)
        if args.engine:
            llm = AsyncLLM(model, n_threads=args.threads, n_seqs=load.clients, n_ctx=CONTEXT,
                           activations=args.activations)  # fmt: skip
            stack.callback(lambda: asyncio.run(llm.close()))
        for round_ in range(args.rounds + 1):
            for name in names if round_ % 2 else names[::-1]:
                one = in_process(llm, load, round_) if name == ENGINE else over_http(servers[name], load, round_)
                result = asyncio.run(one)
                if round_:
                    results[name].append(result)
    return results


def show(load: Load, results: dict[str, list[Result]]) -> None:
    """Print a line for each server, and the ratios."""
    ours = results[OURS]
    for name, each in results.items():
        line = f"{load.clients:3d} clients  {name:13} {median(r.tokens_per_s for r in each):8.1f} tok/s  "
        line += f"ttft {median(r.ttft_s for r in each):7.3f} s"
        if name != OURS:
            speed = median_interval([a.tokens_per_s / b.tokens_per_s for a, b in zip(ours, each, strict=True)])
            first = median_interval([a.ttft_s / b.ttft_s for a, b in zip(ours, each, strict=True)])
            line += f"  realizar: {speed.median:.3f} x ({speed.low:.3f} to {speed.high:.3f}), "
            line += f"ttft {first.median:.3f} x ({first.low:.3f} to {first.high:.3f})"
        print(line, flush=True)


def main() -> None:
    """Parse the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="name of `realizar list`, or path")
    parser.add_argument("--llama-server", type=Path, help="llama.cpp's server; without it only realizar is measured")
    parser.add_argument("--engine", action="store_true", help="measure the engine without HTTP, too")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--requests", type=int, default=4, help="of each client in a turn")
    parser.add_argument("--shared", type=int, default=200, help="words that all prompts begin with")
    parser.add_argument("--own", type=int, default=100, help="words of each prompt's own")
    parser.add_argument("--answer", type=int, default=64, help="tokens of an answer")
    parser.add_argument("-t", "--threads", type=int, default=2)
    parser.add_argument("-r", "--rounds", type=int, default=6)
    parser.add_argument("--activations", choices=("int8", "int16"), default="int8")
    parser.add_argument("--cpus", help="CPUs of the servers, for taskset")
    args = parser.parse_args()
    if args.llama_server and not os.access(args.llama_server, os.X_OK):
        parser.error(f"--llama-server: {args.llama_server} cannot be executed")
    if args.cpus and shutil.which("taskset") is None:
        parser.error("--cpus needs taskset")
    for n in args.clients:
        load = Load(n, args.requests, args.shared, args.own, args.answer)
        show(load, measure(Path(resolve(args.model)), load, args))


if __name__ == "__main__":
    main()
