"""load(path) -> Model: GGUF file -> architecture -> graph -> plan. The file that tells the whole story."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from realizar.arch import Architecture, ArchMetadata, Graph, HParams, Value, Weights, registry
from realizar.errors import GGUFError, GraphError, ParameterError
from realizar.forks import cached_property
from realizar.gguf import GGUFFile
from realizar.graph import Cache
from realizar.runtime.passes import FUSIONS, Pass
from realizar.runtime.plan import Plan, lower
from realizar.runtime.weights import check_drafts, check_scales, collect

if TYPE_CHECKING:
    from realizar.graph import Node
    from realizar.graph.facts import WeightUse
    from realizar.params import Activations
    from realizar.runtime.backend import Backend, CompileParams, Program, Storage
    from realizar.tokenizer import Tokenizer

INT16_BELOW = 1e9
"""Weights that a token is multiplied with: a decoder with fewer rounds activations to int16, another one to int8."""

Pooling = Literal["mean", "cls", "last"]
"""How the states of a text's tokens make one vector: their mean, the first or the last."""
POOLINGS: dict[int, Pooling | None] = {0: None, 1: "mean", 2: "cls", 3: "last"}
"""By the number that files have (llama.h, enum llama_pooling_type)."""
RANK = 4
"""That of rerankers."""


class Model:
    """One model file, understood: its numbers, its tensors, the graphs of its programs and their plans.

    Attributes
    ----------
    file : GGUFFile
    architecture : Architecture
        The plugin's.
    hp : HParams
    tensors : dict[str, Tensor]
        By GGUF name: views of the mapped file.
    graphs : dict[str, Graph]
        By program name, as the architecture recorded them.
    """

    def __init__(self, file: GGUFFile, architecture: Architecture) -> None:
        self.file = file
        self.architecture = architecture
        md = ArchMetadata(file.metadata, architecture.name)
        self.hp: HParams = architecture.hparams(md)
        check_drafts(file, md)
        ignored = architecture.ignored(md, self.hp)
        weights, self.tensors = collect(file, architecture.tensors(self.hp), self.hp.n_layer, ignored)
        self.graphs: dict[str, Graph] = record(architecture, weights, self.hp)
        if "decode" in self.graphs and not md.boolean("attention.causal", True):
            raise GGUFError(
                f"{architecture.name}.attention.causal = false: the file is of an encoder, whose tokens see those "
                f"behind them; the decoder that architecture {architecture.name} computes would give other vectors"
            )
        check_scales(self.graphs.values(), self.tensors)
        self._plans: dict[tuple[str, tuple[str, ...] | None, tuple[str, ...], tuple[Pass, ...]], Plan] = {}

    @property
    def main(self) -> str:
        """The program that a sequence's tokens run through: "decode", or of an encoder its only one."""
        return "decode" if "decode" in self.graphs else next(iter(self.graphs))

    @property
    def has_encoder(self) -> bool:
        """Whether a program "encode" reads whole texts."""
        return "encode" in self.graphs

    @cached_property
    def hidden(self) -> str:
        """The value of the main program that stands for a token: its output "hidden", else what logits are made of."""
        graph = self.graphs[self.main]
        if "hidden" in graph.outputs:
            return "hidden"
        made = {i: node for node in graph.nodes for i in node.outputs}
        node = made[graph.outputs["logits"]]
        while not node.weights:  # scales and caps
            node = made[node.inputs[0]]
        return graph.values[node.inputs[0]].name

    @property
    def n_hidden(self) -> int:
        """Width of the state that stands for a token."""
        graph, name = (self.graphs["encode"], "hidden") if self.has_encoder else (self.graphs[self.main], self.hidden)
        if name in graph.outputs:
            return graph.values[graph.outputs[name]].shape[0]
        return next(value.shape[0] for value in graph.values if value.name == name)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The classes of the head, one for each of its outputs: as the file names them, else LABEL_0 and so on.

        Raises
        ------
        ParameterError
            If the model has no head.
        """
        if "rank" not in self.graphs:
            raise ParameterError(
                f"{self.file.path.name} has no classification head (tensors cls.*): it ranks no texts; use a reranker, "
                "or compare the vectors of embed"
            )
        graph = self.graphs["rank"]
        n = graph.values[graph.outputs["rank"]].shape[0]
        given = self.hp.labels
        return given if len(set(given)) == len(given) == n else tuple(f"LABEL_{i}" for i in range(n))

    @property
    def pooling(self) -> Pooling | None:
        """How the states of a text make one vector: as the file says, else the mean of an encoder's, a decoder's last.

        None where the file says that each token has a vector of its own (pooling_type 0).

        Raises
        ------
        GGUFError
            If the file says it by something else than a number that has a meaning.
        ParameterError
            If the file is a reranker's (pooling_type 4), which scores pairs of texts and gives no vectors.
        """
        key = "pooling_type"
        md = ArchMetadata(self.file.metadata, self.architecture.name)
        if f"{md.arch}.{key}" not in self.file.metadata:
            return "mean" if self.main == "encode" else "last"
        found = md.integer(key)
        if found == RANK:
            raise ParameterError(
                f"pooling='auto': {self.file.path.name} is a reranker ({md.arch}.{key} = {RANK}), which gives no "
                "vectors; use rerank or classify, ask for pooling='rank', the output of its head, or name a pooling "
                "('mean', 'cls', 'last') to embed texts without it"
            )
        if found not in POOLINGS:
            raise GGUFError(
                f"{md.arch}.{key}: {found} has no meaning; known are {', '.join(map(str, POOLINGS))}, {RANK}"
            )
        return POOLINGS[found]

    @property
    def decoder_start(self) -> int:
        """The first token of every answer to an encoder input.

        Raises
        ------
        GGUFError
            If the file does not say it, or names a token that does not exist.
        """
        token = ArchMetadata(self.file.metadata, self.architecture.name).integer("decoder_start_token_id")
        if not 0 <= token < self.hp.n_vocab:
            raise GGUFError(f"decoder_start_token_id={token}: the model has ids 0 to {self.hp.n_vocab - 1}")
        return token

    def plan(
        self, program: str | None = None, outputs: Iterable[str] | None = None, overrides: Iterable[str] = (),
        passes: Iterable[Pass] = FUSIONS,
    ) -> Plan:  # fmt: skip
        """The plan of a program (the main one by default) for its declared outputs, or for the values of these names.

        The plan does not compute the values named in `overrides`: every step passes them in (for example the experts
        that another run chose). `passes` are those of the backend that is to run it, by default all fusions.

        Raises
        ------
        GraphError
            If there is no such program or no such value.
        """
        program = program or self.main
        key = (program, None if outputs is None else tuple(outputs), tuple(overrides), tuple(passes))
        if key not in self._plans:
            if program not in self.graphs:
                raise GraphError(f"program {program!r}: {self.architecture.name} has {', '.join(self.graphs)}")
            self._plans[key] = lower(self.graphs[program], *key[1:])
        return self._plans[key]

    def bind(self, plan: Plan, backend: Backend, storage: Storage, params: CompileParams) -> Program:
        """A plan that a backend runs on this model's weights and with this storage; raises as `Backend.compile`."""
        return backend.compile(plan, self.tensors, storage, params)

    def bytes_read(self, n_tokens: int = 1, program: str | None = None) -> float:
        """Bytes of weights that a step of some tokens reads: each tensor once, of an embedding a row for each token.

        Of experts, those that at least one token chooses, if each chooses as by lot.
        """
        plan = self.plan(program)
        read: dict[str, float] = {}
        for op in plan.ops:
            biases = op.attrs.get("bias", ())
            for j, (name, use) in enumerate(self.uses(plan, op)):
                for tensor in (name, *biases[j : j + 1]):
                    if tensor is not None:
                        n_bytes = use.share(n_tokens) * self.tensors[tensor].data.nbytes
                        read[tensor] = max(read.get(tensor, 0.0), n_bytes)
        return sum(read.values())

    def uses(self, plan: Plan, op: Node) -> Iterator[tuple[str, WeightUse]]:
        """The weights of an op by tensor name, and how it uses each of them."""
        inputs = [plan.shapes[i] for i in op.inputs]
        weights = [self.tensors[name].shape for name in op.weights]
        yield from zip(op.weights, op.spec.uses(inputs, weights, op.attrs), strict=True)

    @property
    def default_activations(self) -> Activations:
        """The default rounding of activations: int16 for small decoders (docs/decisions/0026)."""
        plan = self.plan()
        n_weights = sum(use.multiply_adds for op in plan.ops for _, use in self.uses(plan, op))
        return "int16" if self.main == "decode" and n_weights < INT16_BELOW else "int8"

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the file, built at its first use."""
        from realizar.tokenizer import Tokenizer

        return Tokenizer.from_gguf(self.file.metadata, registry.default().pretokenizers)

    def close(self) -> None:
        """Lets go of the file; the memory is given back when the last compiled plan is gone too."""
        self.tensors = {}
        self.file.close()


def load(path: str | os.PathLike[str], mode: Literal["mmap", "read"] = "mmap") -> Model:
    """Opens a model file.

    Parameters
    ----------
    path : str | os.PathLike
        A GGUF file, or the first part of a split one.
    mode : {"mmap", "read"}
        Map the weights, or read them into memory (safe when the file may change while it is used).

    Raises
    ------
    GGUFError
        If the file is damaged or its metadata make no sense.
    UnknownArchitectureError
        If no plugin brings its architecture.
    TensorError
        If a tensor is missing or is not what the architecture declares, or if it declares no such tensor.
    """
    file = GGUFFile(path, mode)
    try:
        return Model(file, registry.default().architecture(file.architecture))
    except Exception as error:
        file.close()
        if isinstance(error, (ZeroDivisionError, OverflowError)):
            raise GGUFError(f"{file.path.name}: its metadata hold numbers that make no sense: {error}") from error
        raise


def record(architecture: Architecture, weights: Weights, hp: Any) -> dict[str, Graph]:
    """Runs the programs of an architecture once each and returns their graphs."""
    graphs: dict[str, Graph] = {}
    ops = registry.default().ops
    for name, build in architecture.programs().items():
        graph = Graph(ops)
        result = build(graph, weights, hp)
        if result is None:
            continue
        outputs = {"logits": result} if isinstance(result, Value) else dict(result)
        if not outputs:
            raise GraphError(f"{architecture.name}: program {name!r} returns nothing")
        graph.outputs = {key: value.id for key, value in outputs.items()}
        graphs[name] = graph
    share_caches(architecture, graphs)
    return graphs


def share_caches(architecture: Architecture, graphs: Mapping[str, Graph]) -> None:
    """Gives every program all caches: a sequence has one table for a group of them, whichever program runs."""
    caches: dict[str, Cache] = {}
    for name, graph in graphs.items():
        for key, cache in graph.caches.items():
            if caches.setdefault(key, cache) != cache:
                raise GraphError(f"{architecture.name}: program {name!r} wants {cache}, another one {caches[key]}")
    for graph in graphs.values():
        graph.caches = caches
