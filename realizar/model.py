"""load(path) -> Model: GGUF file -> architecture -> graph -> plan. Begin reading the code here."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from realizar.arch import Architecture, ArchMetadata, Graph, HParams, Value, Weights, registry
from realizar.errors import GGUFError, GraphError, ParameterError, TensorError
from realizar.forks import cached_property
from realizar.gguf import GGUFFile
from realizar.graph import Cache
from realizar.runtime import draft_files
from realizar.runtime.passes import FUSIONS, Pass
from realizar.runtime.plan import Plan, lower
from realizar.runtime.rotations import check_rotations, read_rotations
from realizar.runtime.side_ops import SideOps
from realizar.runtime.weights import OTHER_SPECULATION, check_drafts, check_scales, collect, need_draft_block

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from realizar.graph import Node
    from realizar.graph.facts import WeightUse
    from realizar.params import Activations
    from realizar.runtime.backend import Backend, CompileParams, Program, Storage
    from realizar.tokenizer import Tokenizer

INT16_BELOW = 1e9
"""Decoders that multiply a token with fewer weights than this round activations to int16, others to int8."""

Pooling = Literal["mean", "cls", "last"]
"""How the hidden states of a text's tokens are combined: their mean, the first token or the last one."""
POOLINGS: dict[int, Pooling | None] = {0: None, 1: "mean", 2: "cls", 3: "last"}
"""The file's pooling_type (llama.h, enum llama_pooling_type) -> pooling."""
RANK = 4
"""The pooling_type of rerankers."""


class Model:
    """A model file with its hyperparameters, tensors, and the graphs and plans of its programs.

    Parameters
    ----------
    file : GGUFFile
    architecture : Architecture
        From a plugin.
    has_draft : bool
        Whether to record the program "draft", too, of the file's draft block (multi-token prediction).
    target : Model, optional
        The model for which a draft in a file of its own is to draft; other files do not need it.

    Attributes
    ----------
    hp : HParams
    weights : Weights
        What the architecture records its programs with.
    tensors : dict[str, Tensor]
        Views of the mapped file, by GGUF name.
    graphs : dict[str, Graph]
        The graphs that the architecture recorded, by program name.
    draft_tokens : int32 [n_draft_vocab] | None
        The tokens of the logits of program "draft"; None if these are all tokens.
    layer_inputs : tuple of str
        The hidden states of the main program that program "fuse" reads, or the one before the final norm that program
        "draft" reads; empty if that reads the one after it.
    drafts : list of Model
        Drafts in files of their own that are attached.
    """

    def __init__(
        self, file: GGUFFile, architecture: Architecture, has_draft: bool = False, target: Model | None = None
    ) -> None:
        self.file = file
        self.architecture = architecture
        md = ArchMetadata(file.metadata, architecture.name)
        self.hp: HParams = architecture.hparams(md)
        check_drafts(file, md)
        if has_draft:
            need_draft_block(file, md)
            self.hp = replace(self.hp, has_draft=True)
        shapes = {name: info.shape for name, info in file.tensors.items()}
        self.hp = architecture.fitted(self.hp, shapes, None if target is None else target.hp)
        self.draft_tokens: npt.NDArray[np.int32] | None = None
        self.layer_inputs: tuple[str, ...] = ()
        self.drafts: list[Model] = []
        prefix, ignored = draft_files.PREFIX if architecture.is_draft else "", architecture.ignored(md, self.hp)
        if architecture.is_draft and target is not None:
            draft_files.check_target(self.hp, target.hp, file, target.file)
        table = architecture.tensors(self.hp)
        rotations = read_rotations(file, architecture.name, prefix)
        self.weights, self.tensors = collect(file, table, self.hp.n_layer, ignored, prefix, rotations.by_name)
        self.tensors.update(rotations.signs)
        if architecture.is_draft:
            self.draft_tokens = draft_files.draft_tokens(file, self.hp.n_vocab)
            self._share(target)
        self.graphs: dict[str, Graph] = record(architecture, self.weights, self.hp, architecture.programs())
        if has_draft and "draft" not in self.graphs:
            raise ParameterError(
                f"speculate='mtp': architecture {architecture.name} does not compute the draft block of "
                f"{file.path.name}; {OTHER_SPECULATION}"
            )
        if has_draft and architecture.draft_before_norm:
            state = draft_files.input_of_layer(self.graphs["decode"], self.hp.n_layer, self.hp.n_layer, self.hp.n_embd)
            self.layer_inputs = () if state is None else (state,)
        if "decode" in self.graphs and not md.boolean("attention.causal", True):
            raise GGUFError(
                f"{architecture.name}.attention.causal = false: the file is of an encoder, whose tokens see those "
                f"behind them; the decoder that architecture {architecture.name} computes would give other vectors"
            )
        check_scales(self.graphs.values(), self.tensors)
        check_rotations(self.graphs.values(), self.tensors)
        self._plans: dict[tuple[Any, ...], Plan] = {}

    def _share(self, target: Model | None) -> None:
        """Use the target's token embedding and output matrix where a draft has none."""
        for name in ("token_embd", "output"):
            if getattr(self.weights, name) is not None:
                continue
            if target is None or (name == "output" and self.draft_tokens is not None):
                raise TensorError(f"{name}.weight: {self.file.path.name} has no such tensor, nor a model that has it")
            ref = getattr(target.weights, name)
            setattr(self.weights, name, ref)
            self.tensors[ref.tensor] = target.tensors[ref.tensor]
            if ref.rotation is not None and ref.rotation.signs is not None:
                self.tensors[ref.rotation.signs.tensor] = target.tensors[ref.rotation.signs.tensor]

    def attach(self, draft: Model) -> None:
        """Add the programs of a draft in a file of its own, which was loaded with this model as its target.

        It is closed with this model.

        Raises
        ------
        ParameterError
            If it has other tokens, or reads hidden states that the architecture does not have.
        """
        self.drafts.append(draft)
        name, layers = draft.file.path.name, getattr(draft.hp, "target_layers", ())
        if "decode" not in self.graphs or self.has_encoder:
            raise ParameterError(f"draft={name}: the model must be a decoder, which reads what it continues")
        if all("tokenizer.ggml.tokens" in model.file.metadata for model in (self, draft)):
            draft_files.check_tokens(self.tokenizer.tokens, draft.tokenizer.tokens, f"draft={name}")
        n_layer, n_embd = self.hp.n_layer, self.hp.n_embd
        found = [draft_files.input_of_layer(self.graphs["decode"], i, n_layer, n_embd) for i in layers]
        if None in found:
            raise ParameterError(
                f"draft={name}: it reads the hidden state before layer {layers[found.index(None)]}, but architecture "
                f"{self.architecture.name} has more than one vector of {n_embd} numbers there; use speculate='ngram'"
            )
        self.layer_inputs = tuple(name for name in found if name is not None)
        self.graphs.update(draft.graphs)
        self.tensors.update(draft.tensors)
        share_caches(self.architecture, self.graphs)
        self.draft_tokens = draft.draft_tokens
        self._plans.clear()

    @property
    def main(self) -> str:
        """The program for the tokens of a sequence: "decode", or the only program of an encoder."""
        return "decode" if "decode" in self.graphs else next(iter(self.graphs))

    @property
    def has_encoder(self) -> bool:
        """Whether there is a program "encode", which reads a whole input."""
        return "encode" in self.graphs

    @cached_property
    def hidden(self) -> str:
        """The main program's hidden state."""
        return self.hidden_of(self.main)

    def hidden_of(self, program: str) -> str:
        """A program's hidden state: its output "hidden", else the input of the product that gives the logits."""
        graph = self.graphs[program]
        if "hidden" in graph.outputs:
            return "hidden"
        made = {i: node for node in graph.nodes for i in node.outputs}
        node = made[graph.outputs["logits"]]
        while not node.weights:  # scales and caps
            node = made[node.inputs[0]]
        state = node.inputs[0]
        if state in made and made[state].spec.rotates_input:
            state = made[state].inputs[0]
        return graph.values[state].name

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
        """The pooling of the file, else "mean" for an encoder and "last" for a decoder.

        None if the file has pooling_type 0: one vector for each token.

        Raises
        ------
        GGUFError
            If the file's pooling_type is not a known number.
        ParameterError
            If the model is a reranker (pooling_type 4), which scores pairs of texts and has no embeddings.
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
            raise GGUFError(f"{md.arch}.{key}: {found} is unknown; known are {', '.join(map(str, POOLINGS))}, {RANK}")
        return POOLINGS[found]

    @property
    def decoder_start(self) -> int:
        """The token with which every completion of an encoder-decoder begins.

        Raises
        ------
        GGUFError
            If the file does not have it, or the token does not exist.
        """
        token = ArchMetadata(self.file.metadata, self.architecture.name).integer("decoder_start_token_id")
        if not 0 <= token < self.hp.n_vocab:
            raise GGUFError(f"decoder_start_token_id={token}: the model has ids 0 to {self.hp.n_vocab - 1}")
        return token

    def plan(
        self, program: str | None = None, outputs: Iterable[str] | None = None, overrides: Iterable[str] = (),
        passes: Iterable[Pass] = FUSIONS, side: SideOps | None = None,
    ) -> Plan:  # fmt: skip
        """Return the plan of a program (by default the main one) for its outputs, or for the values of these names.

        The plan does not compute the values named in `overrides`: every step passes them in (for example the experts
        that another run chose). `passes` are those of the backend that is to run it, by default all fusions; `side` is
        what adapters change.

        Raises
        ------
        GraphError
            If the program or a value does not exist.
        """
        program = program or self.main
        key = (program, None if outputs is None else tuple(outputs), tuple(overrides), tuple(passes), side)
        if key not in self._plans:
            if program not in self.graphs:
                raise GraphError(f"program {program!r}: {self.architecture.name} has {', '.join(self.graphs)}")
            self._plans[key] = lower(self.graphs[program], *key[1:])
        return self._plans[key]

    def bind(self, plan: Plan, backend: Backend, storage: Storage, params: CompileParams) -> Program:
        """Compile a plan for a backend, with this model's weights and this storage; raises as `Backend.compile`."""
        return backend.compile(plan, self.tensors, storage, params)

    def bytes_read(self, n_tokens: int = 1, program: str | None = None) -> float:
        """Return the bytes of weights that a step reads: each tensor once, of an embedding one row for each token.

        Of experts: the expected number that at least one token chooses, if the choice is uniformly random.
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
        """Yield the tensor names of an op's weights, and how it uses each of them."""
        inputs = [plan.shapes[i] for i in op.inputs]
        weights = [self.tensors[name].shape for name in op.weights]
        yield from zip(op.weights, op.spec.uses(inputs, weights, op.attrs), strict=True)

    @property
    def default_activations(self) -> Activations:
        """The default type of activations: int16 for small decoders, else int8 (docs/decisions/0026)."""
        plan = self.plan()
        n_weights = sum(use.multiply_adds for op in plan.ops for _, use in self.uses(plan, op))
        return "int16" if self.main == "decode" and n_weights < INT16_BELOW else "int8"

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the file, built at first use."""
        from realizar.tokenizer import Tokenizer

        return Tokenizer.from_gguf(self.file.metadata, registry.default().pretokenizers)

    def close(self) -> None:
        """Close the file; the memory is unmapped when the last compiled plan is freed, too."""
        self.tensors = {}
        self.file.close()
        for draft in self.drafts:
            draft.close()


def load(
    path: str | os.PathLike[str], mode: Literal["mmap", "read"] = "mmap", has_draft: bool = False,
    target: Model | None = None,
) -> Model:  # fmt: skip
    """Open a model file.

    Parameters
    ----------
    path : str | os.PathLike
        A GGUF file, or the first part of a split one.
    mode : {"mmap", "read"}
        Map the weights, or read them into memory (safe if the file may change while it is used).
    has_draft : bool
        Whether to record the program of the file's draft block, too.
    target : Model, optional
        The model for which a draft in a file of its own is to draft.

    Raises
    ------
    ParameterError
        If it has no draft block, or the architecture does not compute it, and `has_draft` asks for it; if the file is a
        draft for another model, without a target, or does not fit its target.
    GGUFError
        If the file is damaged or its metadata are invalid.
    UnknownArchitectureError
        If no plugin has its architecture.
    TensorError
        If a tensor is missing, differs from its declaration, or is not declared by the architecture.
    """
    file = GGUFFile(path, mode)
    try:
        architecture = registry.default().architecture(file.architecture)
        if architecture.is_draft and target is None:
            raise ParameterError(
                f"{file.path.name} is a draft for another model; load that model, with this file as draft="
            )
        return Model(file, architecture, has_draft, target)
    except Exception as error:
        file.close()
        if isinstance(error, (ZeroDivisionError, OverflowError)):
            raise GGUFError(f"{file.path.name}: its metadata contain invalid numbers: {error}") from error
        raise


def record(architecture: Architecture, weights: Weights, hp: Any, programs: Mapping[str, Any]) -> dict[str, Graph]:
    """Record programs of an architecture and return their graphs."""
    graphs: dict[str, Graph] = {}
    ops = registry.default().ops
    for name, build in programs.items():
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
    """Give every program the caches of all programs, since a sequence has one table per cache group."""
    caches: dict[str, Cache] = {}
    for name, graph in graphs.items():
        for key, cache in graph.caches.items():
            if caches.setdefault(key, cache) != cache:
                raise GraphError(f"{architecture.name}: program {name!r} has {cache}, another one {caches[key]}")
    for graph in graphs.values():
        graph.caches = caches
