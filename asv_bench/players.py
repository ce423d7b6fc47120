"""The programs that asv_bench/compare.py measures in turns, each in its own process ("players")."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

N_BATCH = 512  # maximum tokens per step
WARM_UP = 8  # untimed steps that bring the weights back into the CPU caches
DECODE_PROMPT = 16


@dataclass(frozen=True)
class Phase:
    """A measured phase: prefill of n tokens or n decode steps of `batch` sequences, after `depth` tokens in the KV
    cache; or an encoder on `batch` texts of n tokens.
    """

    kind: str
    n: int
    depth: int = 0
    batch: int = 1

    @property
    def name(self) -> str:
        """For example prefill(512), decode(64) @ 8192, decode(64) x 8."""
        depth = f" @ {self.depth}" if self.depth else ""
        return f"{self.kind}({self.n})" + depth + (f" x {self.batch}" if self.batch > 1 else "")

    @property
    def n_ctx(self) -> int:
        """Final length of a sequence."""
        return self.depth + (DECODE_PROMPT + WARM_UP + self.n if self.kind == "decode" else self.n)


@dataclass(frozen=True)
class Settings:
    """Settings of all players.

    Attributes
    ----------
    path : Path
        The model file.
    n_threads : int
    phases : sequence of Phase
    isa : str | None
        ISA level of realizar's kernels; the best available by default.
    activations : str
        Type to which realizar rounds activations.
    cpu : bool
        Measure CPU time of the process instead of wall time.
    """

    path: Path
    n_threads: int
    phases: Sequence[Phase]
    isa: str | None = None
    activations: str = "int8"
    cpu: bool = False

    @property
    def clock(self) -> Callable[[], float]:
        """A function that returns seconds."""
        return time.process_time if self.cpu else time.perf_counter


class Realizar:
    """Times engine requests of realizar; also measures the machine's limits and computes the phases' floors."""

    def __init__(self, settings: Settings) -> None:
        if settings.isa:
            os.environ["REALIZAR_ISA"] = settings.isa  # read when the kernels are imported
        from realizar import LLM
        from realizar.cli.workload import Workload

        self._new = Workload
        self._clock, self._activations = settings.clock, settings.activations
        n_seqs = max(phase.batch for phase in settings.phases)
        n_ctx = max(
            p.n if p.kind == "encode" else Workload.n_ctx(p.depth, p.batch, p.n, WARM_UP + p.n)
            for p in settings.phases
        )  # fmt: skip
        self.llm = LLM(
            settings.path, n_threads=settings.n_threads, n_ctx=n_ctx, n_seqs=n_seqs, n_batch=N_BATCH,
            activations=settings.activations,
        )  # fmt: skip
        self._works: dict[tuple[int, int], Workload] = {}
        self._rng = np.random.default_rng(0)

    def seconds(self, phase: Phase) -> float:
        """Return the seconds of a phase."""
        if phase.kind == "encode":
            return self._encode(phase.n, phase.batch)
        if phase.kind == "prefill":
            self._work(0, 1).step_seconds(WARM_UP)
            return self._work(phase.depth, 1).prompt_seconds(phase.n)
        return sum(self._work(phase.depth, phase.batch).step_seconds(WARM_UP + phase.n)[WARM_UP:])

    def _encode(self, n: int, batch: int) -> float:
        """Return the seconds until the hidden states of all texts are computed."""
        engine, begin = self.llm.engine, self._clock()
        requests = [engine.embed(self._rng.integers(0, engine.model.hp.n_vocab, n)) for _ in range(batch)]
        engine.wait(lambda: all(request.is_over for request in requests))
        return self._clock() - begin

    def _work(self, depth: int, batch: int) -> Any:
        """Return the workload of this depth and batch size."""
        if (depth, batch) not in self._works:
            self._works[depth, batch] = self._new(self.llm.engine, depth, batch, depth + batch, self._clock)
        return self._works[depth, batch]

    def place(self) -> str:
        """Return the folder of the imported package."""
        import realizar

        return str(Path(realizar.__file__).parent)

    def rates(self) -> tuple[float, float, float]:
        """Return the machine's limits per second: 10^9 bytes read, 10^12 int8 and float32 operations."""
        from realizar._kernels import table
        from realizar.planning.machine import f32_tops, int8_tops, read_gb_s

        file, n_threads, isa = self.llm.engine.model.file, self.llm.engine.runner.n_threads, table.current()
        return read_gb_s(map(file.data, file.tensors), n_threads), int8_tops(isa, n_threads), f32_tops(isa, n_threads)

    def floor(self, phase: Phase) -> tuple[float, float, float]:
        """Return the bytes, int8 operations and float32 operations of a phase."""
        from realizar.planning.floor import prompt_floor, step_floor

        engine, activations = self.llm.engine, self._activations
        if phase.kind != "decode":
            program = "encode" if phase.kind == "encode" else "decode"
            floor = prompt_floor(engine.model, engine.cache, phase.n * phase.batch, program, activations)
            return floor.n_bytes, floor.operations, floor.f32_operations
        n_tokens = fmean((phase.depth + DECODE_PROMPT + WARM_UP, phase.n_ctx))
        floor = step_floor(engine.model, engine.cache, n_tokens, phase.batch, activations=activations)
        return phase.n * floor.n_bytes, phase.n * floor.operations, phase.n * floor.f32_operations


class LlamaCpp:
    """Times `llama_decode`; each depth and batch size has its own context, whose KV cache keeps the first tokens."""

    def __init__(self, settings: Settings) -> None:
        import llama_cpp as lib

        self._clock, self._n_threads = settings.clock, settings.n_threads
        self._lib = lib
        self._quiet = lib.llama_log_callback(lambda *_: None)  # llama.cpp keeps a pointer to it
        lib.llama_log_set(self._quiet, ctypes.c_void_p(0))
        lib.llama_backend_init()
        params = lib.llama_model_default_params()
        params.n_gpu_layers = 0
        self._model = lib.llama_model_load_from_file(str(settings.path).encode(), params)
        if not self._model:
            raise RuntimeError(f"llama.cpp cannot load {settings.path}")
        self._n_vocab = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(self._model))
        self._batch = lib.llama_batch_init(N_BATCH, 0, 1)
        self._rng = np.random.default_rng(0)
        # n_ctx per depth and batch size: the longest of its phases, and the warm-up before a prompt
        self._n_ctx = {(0, 1): Phase("decode", 0).n_ctx}
        self._encoders: dict[tuple[int, int], Any] = {}
        for phase in settings.phases:
            key = phase.depth, phase.batch
            self._n_ctx[key] = max(self._n_ctx.get(key, 0), phase.n_ctx)
        self._contexts: dict[tuple[int, int], Any] = {}

    def seconds(self, phase: Phase) -> float:
        """Return the seconds of a phase."""
        if phase.kind == "encode":
            return self._encode(phase.n, phase.batch)
        if phase.kind == "decode":
            return self._steps(phase.depth, phase.batch, WARM_UP, phase.n)
        self._steps(0, 1, WARM_UP, 0)
        context = self._begin(phase.depth, 1)
        begin = self._clock()
        self._prompt(context, 0, phase.depth, phase.n)
        return self._clock() - begin

    def _encode(self, n: int, batch: int) -> float:
        """Return the seconds for the pooled states of all texts, with as many texts per step as fit into N_BATCH.

        The number of texts is a power of two: llama.cpp 0.3.36 aborts if it does not divide n_batch.
        """
        lib, key, n_texts = self._lib, (n, batch), 1 << (N_BATCH // n).bit_length() - 1
        if key not in self._encoders:
            params = lib.llama_context_default_params()
            params.n_ctx, params.n_seq_max = N_BATCH, n_texts
            params.n_batch = params.n_ubatch = N_BATCH
            params.n_threads = params.n_threads_batch = self._n_threads
            params.embeddings, params.pooling_type = True, lib.LLAMA_POOLING_TYPE_MEAN
            self._encoders[key] = lib.llama_init_from_model(self._model, params)
        begin = self._clock()
        for first in range(0, batch, n_texts):
            texts = range(min(n_texts, batch - first))
            self._decode(self._encoders[key], [(s, i, True) for s in texts for i in range(n)])
        return self._clock() - begin

    def _steps(self, depth: int, batch: int, n_before: int, n: int) -> float:
        """Return the seconds of n steps of all sequences, after a prompt and untimed warm-up steps."""
        context = self._begin(depth, batch)
        for s in range(batch):
            self._prompt(context, s, depth, DECODE_PROMPT)
        begin = self._clock()
        for i in range(n_before + n):
            if i == n_before:
                begin = self._clock()
            self._decode(context, [(s, depth + DECODE_PROMPT + i, True) for s in range(batch)])
        return self._clock() - begin

    def _begin(self, depth: int, batch: int) -> Any:
        """Return the context of a depth and batch size, with only the first `depth` tokens in its KV cache."""
        lib, key = self._lib, (depth, batch)
        if key not in self._contexts:
            params = lib.llama_context_default_params()
            params.n_ctx, params.n_seq_max = self._n_ctx[key] * batch, batch
            params.n_batch = params.n_ubatch = N_BATCH
            params.n_threads = params.n_threads_batch = self._n_threads
            params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_ENABLED
            self._contexts[key] = lib.llama_init_from_model(self._model, params)
            for s in range(batch):
                self._prompt(self._contexts[key], s, 0, depth)
        memory = lib.llama_get_memory(self._contexts[key])
        for s in range(batch):
            if not lib.llama_memory_seq_rm(memory, s, depth, -1):
                raise RuntimeError("llama.cpp cannot remove the end of a sequence")
        return self._contexts[key]

    def _prompt(self, context: Any, s: int, start: int, n: int) -> None:
        """Compute n tokens of sequence s, with logits of the last."""
        for first in range(0, n, N_BATCH):
            end = min(first + N_BATCH, n)
            self._decode(context, [(s, start + i, i == n - 1) for i in range(first, end)])

    def _decode(self, context: Any, rows: list[tuple[int, int, bool]]) -> None:
        """Compute one step of random tokens; rows are (sequence, position, whether logits are wanted)."""
        batch, tokens = self._batch, self._rng.integers(0, self._n_vocab, len(rows)).tolist()
        batch.n_tokens = len(rows)
        for i, (s, position, wanted) in enumerate(rows):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0] = tokens[i], position, 1, s
            batch.logits[i] = wanted
        if status := self._lib.llama_decode(context, batch):
            raise RuntimeError(f"llama_decode: {status}")
        self._lib.llama_synchronize(context)


OURS, BASELINE, LLAMA_CPP = "realizar", "baseline", "llama.cpp"
ENGINES = {OURS: Realizar, BASELINE: Realizar, LLAMA_CPP: LlamaCpp}


class Player:
    """A program in its own process, which is stopped while others run.

    Parameters
    ----------
    name : str
        One of ENGINES.
    settings : Settings
    python : str
        Interpreter of the process, whose packages it imports; only this file and the standard library are shared.
    """

    def __init__(self, name: str, settings: Settings, python: str = sys.executable) -> None:
        self.name = name
        self._pipe, theirs = Pipe()
        fd = theirs.fileno()
        self._process = subprocess.Popen([python, __file__, name, str(fd)], pass_fds=[fd])
        theirs.close()
        self._pipe.send(settings)
        self._answer()
        self._process.send_signal(signal.SIGSTOP)

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of the engine in the process and return its result."""
        self._process.send_signal(signal.SIGCONT)
        self._pipe.send((method, arguments))
        answer = self._answer()
        self._process.send_signal(signal.SIGSTOP)
        return answer

    def close(self) -> None:
        """Kill the process, whether or not it is stopped."""
        self._process.kill()
        self._process.wait()

    def _answer(self) -> Any:
        try:
            return self._pipe.recv()
        except EOFError:
            status = self._process.wait()
            sys.exit(f"{self.name} ended with exit code {status} (-11: see docs/performance-notes.md, AMX)")


def _play(name: str, fd: int) -> None:
    """Serve method calls (method, arguments) until the pipe is closed."""
    pipe = Connection(fd)
    engine = ENGINES[name](pipe.recv())
    pipe.send("ready")
    while True:
        try:
            method, arguments = pipe.recv()
        except EOFError:
            return
        pipe.send(getattr(engine, method)(*arguments))


if __name__ == "__main__":
    _play(sys.argv[1], int(sys.argv[2]))
