"""check_architecture(): the conformance kit for architecture plugins, shipped or third-party."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from realizar import backends
from realizar._kernels import table
from realizar.arch import Architecture
from realizar.backends.staged.backend import StagedBackend
from realizar.backends.staged.placement import Placement
from realizar.errors import ParameterError
from realizar.graph import Graph, Node, reference
from realizar.model import Model
from realizar.params import Activations, EngineParams
from realizar.runtime.batch import BLOCK
from realizar.sessions import N_CTX as N_CTX
from realizar.sessions import N_ENCODER as N_ENCODER
from realizar.sessions import N_TOKENS as N_TOKENS
from realizar.sessions import Session as Session
from realizar.sessions import encoder_input as encoder_input
from realizar.sessions import random_tokens as random_tokens
from realizar.tiny_model import N_VOCAB as N_VOCAB
from realizar.tiny_model import tiny_metadata as tiny_metadata
from realizar.tiny_model import tiny_model as tiny_model

F32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]

TOLERANCE = 1e-5
# Experts round to int8 between their products, where ties may be rounded differently.
TOLERANCE_INSIDE = 2e-3


class ConformanceError(AssertionError):
    """An architecture violates a requirement; the message says which one and where."""


def check_architecture(
    arch: Architecture | type[Architecture], metadata: Mapping[str, Any] | None = None,
    types: Sequence[str] = ("F32", "F16", "Q8_0", "Q4_K"), isa_levels: Sequence[str] | None = None,
    backend: str = "cpu",
) -> None:  # fmt: skip
    """Check an architecture on tiny random models.

    Every declared tensor must be used; every op of the compiled plan must agree with the numpy interpreter to 1e-5
    (relative; int8, int16 and f32 activations) on each ISA level; the fused plan must give the bits of the unfused
    plan; and the bits must not depend on the ISA level, the number of threads, the prefill chunks, the other sequences
    in the batch, or prefix caching.

    Parameters
    ----------
    arch : Architecture | type[Architecture]
    metadata : dict | None
        Keys that differ from `tiny_metadata`, or that it lacks; None as a value removes a key.
    types : sequence of str
        Formats of the weights.
    isa_levels : sequence of str | None
        ISA levels whose kernels are compared with the numpy interpreter and, bit by bit, with the best level; None:
        all levels of this CPU.
    backend : str
        Name of a backend, ours or a plugin's. Of any but "cpu", float32 activations and KV cache are checked: every op
        by itself, and a prompt in chunks, beside other sequences, after a cached prefix, for some rows, and in stages.

    Raises
    ------
    ConformanceError
        Names the check and the place where it failed.
    ParameterError
        If this CPU lacks one of `isa_levels`.
    """
    levels = _isa_levels(isa_levels)
    instance = arch() if isinstance(arch, type) else arch
    keys = {**tiny_metadata(instance.name), **(metadata or {})}
    keys = {key: value for key, value in keys.items() if value is not None}
    with tempfile.TemporaryDirectory() as folder:
        for optional in (True, False):
            with tiny_model(instance, keys, "F32", Path(folder), optional=optional) as model:
                check_all_used(model)
                if backend != "cpu":
                    check_backend(model, backend)
                else:
                    check_interpreter(model, "f32", levels)
        for type_name in dict.fromkeys([*types, "Q4_K"]):
            with tiny_model(instance, keys, type_name, Path(folder)) as model:
                if backend != "cpu":
                    check_backend(model, backend)
                    continue
                if type_name in types:
                    check_fusion(model)
                    _check_activations(model, "int8", levels)
                if type_name == "Q4_K":
                    _check_activations(model, "int16", levels)


def _check_activations(model: Model, activations: Activations, isa_levels: Sequence[str]) -> None:
    """Compare the kernels with the numpy interpreter, and the bits of every program, with these activations."""
    check_interpreter(model, activations, isa_levels)
    for program in model.graphs:
        check_same_bits(model, program, isa_levels, activations)


def _isa_levels(names: Sequence[str] | None) -> tuple[str, ...]:
    available = tuple(table.available())
    for name in names or ():
        if name not in available:
            raise ParameterError(f"isa_levels: this CPU does not run {name!r}; it runs {', '.join(available)}")
    return available if names is None else tuple(names)


# ---- the checks


def prompt_of_parts(graph: Graph) -> tuple[list[int], dict[str, Any]]:
    """Return the Batch fields of a random prompt with tokens, with embeddings if the program supports them, and with a
    bidirectional span of both."""
    tokens, spans = random_tokens(), np.array([[8, 29]], np.int32)
    if "embeddings" not in graph.inputs:
        return tokens, {"spans": spans}
    rows = np.arange(20, 33, dtype=np.int32)
    tokens[20:33] = [0] * 13
    node = next(node for node in graph.nodes if "embeddings" in node.spec.reads(node.attrs))
    embeddings = np.random.default_rng(3).standard_normal((13, *graph.values[node.outputs[0]].shape), np.float32)
    return tokens, {"spans": spans, "embedding_rows": rows, "embeddings": embeddings}


def check_all_used(model: Model) -> None:
    """Check that a program reads every tensor that the architecture declares and the file has."""
    used = {name for graph in model.graphs.values() for node in graph.nodes for name in _tensor_names(node)}
    for name in model.tensors:
        _need(name in used, f"{model.architecture.name}: {name} is declared, but no program uses it")


def check_interpreter(model: Model, activations: Activations, isa_levels: Sequence[str]) -> None:
    """Check that every op agrees with the numpy interpreter on the compiled plan's inputs of the op.

    Some rows are embeddings, if the program supports them, and some are a bidirectional span.
    """
    for program, graph in model.graphs.items():
        plan = model.plan(program, [graph.values[i].name for i in _reachable(graph)])
        for isa in isa_levels:
            session = Session(model, plan, activations=activations, kv_type="f32", isa=isa)
            _check_ops(model, program, session, activations, isa)


def check_backend(model: Model, name: str) -> None:
    """Check a backend: each op against the numpy interpreter, and other ways to compute a prompt against one step."""
    for program, graph in model.graphs.items():
        with ExitStack() as stack:
            made = [backends.make(EngineParams(backend=name)) for _ in range(2)]
            for backend in made:
                stack.callback(backend.close)
            one, passes = made[0], made[0].passes
            plan = model.plan(program, [graph.values[i].name for i in _reachable(graph)], passes=passes)
            options: dict[str, Any] = {"activations": "f32", "kv_type": "f32"}
            _check_ops(model, program, Session(model, plan, backend=one, **options), "f32", name)
            fused = model.plan(program, passes=passes)
            session = Session(model, fused, backend=one, **options)
            staged = StagedBackend(made, Placement((0, *[1] * (model.hp.n_layer - 1)), 0, 1))
            in_stages = Session(model, fused, backend=staged, **options)
            want = session.prompt(random_tokens(), N_TOKENS)
            for what, found in _other_ways(session, in_stages, fused.whole):
                for output, rows in found.items():
                    error = relative_error(rows, want[output][-len(rows) :])
                    where = f"{model.architecture.name}.{program} on {name}"
                    _need(error <= TOLERANCE, f"{where}: {output} is {error:.1e} off {what}")


def _other_ways(session: Session, in_stages: Session, is_whole: bool) -> Iterator[tuple[str, dict[str, F32]]]:
    """Yield the outputs of the last rows of `random_tokens()`, computed otherwise than in one step."""
    tokens, other = random_tokens(), random_tokens(33, seed=1)
    session.clear()
    beside = session.step([(2, 0, other), (0, 0, tokens), (1, 0, other[:1])])
    yield "beside other sequences", {name: rows[33 : 33 + N_TOKENS] for name, rows in beside.items()}
    yield "in stages of two backends", in_stages.prompt(tokens, N_TOKENS)
    if is_whole:
        return
    session.clear()
    yield "in chunks", session.prompt(tokens, 7)
    session.clear()
    yield (
        "after a prefix in the cache",
        session.continue_from(0, 3, 2 * BLOCK, session.prompt(tokens[: 2 * BLOCK], N_TOKENS), tokens),
    )
    for one in (session, in_stages):
        one.clear()
        one.step([(0, 0, tokens[:-4])], outputs=np.empty(0, np.int32))
        yield "where rows are dropped", one.step([(0, N_TOKENS - 4, tokens[-4:])], outputs=np.array([3], np.int32))


def _check_ops(model: Model, program: str, session: Session, activations: Activations, computed_by: str) -> None:
    """Compare the outputs of each op with those of the numpy interpreter for the same inputs."""
    graph = model.graphs[program]
    tokens, fields = prompt_of_parts(graph)
    found = session.step([(0, 0, tokens)], **fields)
    n = np.arange(N_TOKENS, dtype=np.int32)
    inputs = reference.Inputs(
        np.array(tokens, np.int32), n[None], n, model.tensors, activations, "f32", N_CTX,
        reference.NewKeyValues(session.encoder_kv),
        dict(zip(fields.get("embedding_rows", ()), fields.get("embeddings", ()), strict=True)), fields["spans"],
        {key: np.zeros(state.shape, np.float32) for key, state in graph.states.items()},
    )  # fmt: skip
    for node in graph.nodes:
        if node.spec.is_override or any(graph.values[i].name not in found for i in node.outputs):
            continue
        x = [found[graph.values[i].name] for i in node.inputs]
        for i, want in zip(node.outputs, reference.evaluate(node, x, inputs), strict=True):
            error = relative_error(found[graph.values[i].name], want)
            where = f"{model.architecture.name}.{program} on {computed_by}, {activations} activations"
            what = f"{graph.values[i].name} ({node.op}) is {error:.1e} off the interpreter"
            inside = activations == "int8" and _quantizes_inside(model, graph, node)
            _need(error <= (TOLERANCE_INSIDE if inside else TOLERANCE), f"{where}: {what}")


def check_fusion(model: Model) -> None:
    """Check that the plan with fused ops gives the bits of the plan in which every value is an output."""
    tokens = random_tokens()
    for program, graph in model.graphs.items():
        every = model.plan(program, [*graph.outputs, *(graph.values[i].name for i in _reachable(graph))])
        plain, fused = (Session(model, plan).prompt(tokens, N_TOKENS) for plan in (every, model.plan(program)))
        for name, value in fused.items():
            _need(_equal(value, plain[name]), f"{model.architecture.name}.{program}: fusion changes the bits of {name}")


def check_same_bits(model: Model, program: str, isa_levels: Sequence[str], activations: Activations = "int8") -> None:
    """Compare a prompt, in one step of one thread on the best ISA level, with every other way to compute it."""
    tokens, other, plan = random_tokens(), random_tokens(33, seed=1), model.plan(program)
    compiled = cache(partial(Session, model, plan, activations=activations))
    best = table.current()

    def cleared(isa: str = best, n_threads: int = 1) -> Session:
        session = compiled(isa=isa, n_threads=n_threads)
        session.clear()
        return session

    want = cleared().prompt(tokens, N_TOKENS)

    def same(found: Mapping[str, F32], what: str) -> None:
        for name, value in want.items():
            _need(_equal(found[name], value), f"{model.architecture.name}.{program}: {what} changes the bits of {name}")

    for isa in isa_levels:
        same(cleared(isa=isa).prompt(tokens, N_TOKENS), f"ISA level {isa}")
    for n_threads in (2, 3):
        same(cleared(n_threads=n_threads).prompt(tokens, N_TOKENS), f"{n_threads} threads")
    if plan.whole:
        batch = cleared().step([(2, 0, other), (0, 0, tokens), (1, 0, other[:1])])
        same({name: batch[name][len(other) : len(other) + N_TOKENS] for name in want}, "a batch")
        return
    for chunk, n_threads in ((1, 1), (7, 2)):
        same(cleared(n_threads=n_threads).prompt(tokens, chunk), f"prefill in chunks of {chunk}")
    session = cleared()
    first = session.step([(2, 0, other[:20]), (0, 0, tokens[:30]), (1, 0, other)])
    second = session.step([(0, 30, tokens[30:]), (2, 20, other[20:])])
    same({name: np.concatenate([first[name][20:50], second[name][: N_TOKENS - 30]]) for name in want}, "a batch")
    cached = session.continue_from(0, 3, 2 * BLOCK, session.prompt(tokens[: 2 * BLOCK], N_TOKENS), tokens)
    same(cached, "a prefix that another sequence cached")
    session = cleared()
    session.step([(2, 0, other[:20]), (0, 0, tokens[:30])], outputs=np.empty(0, np.int32))
    rows = np.array([3, 4, 9, 18], np.int32)  # the first is of the other sequence
    some = session.step([(2, 20, other[20:24]), (0, 30, tokens[30:])], outputs=rows)
    want = {name: value[30 + rows[1:] - 4] for name, value in want.items()}
    same({name: value[1:] for name, value in some.items()}, "dropping the rows that are not outputs")


def relative_error(found: F32, want: F32) -> float:
    """Return the norm of ``found - want`` over that of ``want``, of whole arrays; infinite if one is not finite."""
    difference, size = _norm(found.astype(np.float64) - want), _norm(want.astype(np.float64))
    return difference / size if size and np.isfinite(difference) else (0.0 if difference == 0 else float("inf"))


def _norm(x: npt.NDArray[np.float64]) -> float:
    """Return the 2-norm; numpy.linalg.norm would start threads for a few thousand elements."""
    return float(np.sqrt(np.sum(x * x)))


def _reachable(graph: Graph) -> list[int]:
    """Return the values on which some output depends, in order."""
    needed = set(graph.outputs.values())
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs) or not node.outputs:
            needed.update(node.inputs, node.outputs)
    return sorted(needed)


def _quantizes_inside(model: Model, graph: Graph, node: Node) -> bool:
    """Whether an op quantizes intermediate values, which the interpreter may round differently."""
    inputs = [graph.values[i].shape for i in node.inputs]
    uses = node.spec.uses(inputs, [model.tensors[name].shape for name in node.weights], node.attrs)
    return any(use.operand == "hidden" for use in uses)


def _tensor_names(node: Any) -> list[str]:
    others = (*node.attrs.get("bias", ()), *node.attrs.get("scales", ()))
    return [*node.weights, *(name for name in others if name is not None)]


def _equal(a: F32, b: F32) -> bool:
    """Whether the bits are equal; any NaN equals any NaN."""
    return a.shape == b.shape and bool(np.all((a.view(np.uint32) == b.view(np.uint32)) | (np.isnan(a) & np.isnan(b))))


def _need(ok: bool, message: str) -> None:
    if not ok:
        raise ConformanceError(message)
