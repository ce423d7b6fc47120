"""The checks of `realizar verify`: tensors match the plugin's declaration, tokenizer round trips, finite outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from realizar.arch import Architecture, ArchMetadata, registry
from realizar.arch.architecture import WeightTable, expand
from realizar.errors import ParameterError, RealizarError, TensorError
from realizar.gguf import GGUFFile
from realizar.runtime.weights import Collector, check_drafts

TEXTS = ("Hello, world!", "It's 3.14 or 1,000,000?", "for x in range(10):\n    print(x)", "naïve café, Ωmega, 你好 🚀")
LOSSLESS_TOKENIZERS = ("gpt2", "llama", "rwkv")
N_TOKENS = 16
TOKENS_KEY = "tokenizer.ggml.tokens"


@dataclass(frozen=True)
class Check:
    """One line of the report: name, status and details."""

    name: str
    status: Literal["ok", "FAILED", "-"]
    says: str


def verify(path: Path, golden: Path | None, bound: float) -> Iterator[Check]:
    """Yield the checks of a file; checks that depend on a failed one are skipped."""
    try:
        file = GGUFFile(path)
    except RealizarError as error:
        yield Check("file", "FAILED", str(error))
        return
    with file:
        yield Check("file", "ok", f"{len(file.tensors)} tensors, {file.n_bytes / 1e6:.1f} MB")
        try:
            architecture = registry.default().architecture(file.architecture)
            md = ArchMetadata(file.metadata, architecture.name)
            hp = architecture.fitted(architecture.hparams(md), _shapes(file))
            table = expand(architecture.tensors(hp), hp.n_layer)
            check_drafts(file, md)
            ignored = architecture.ignored(md, hp)
        except RealizarError as error:
            yield Check("architecture", "FAILED", str(error))
            return
        yield Check("architecture", "ok", f"{architecture.name}, from plugin {_origin(architecture)}")
        tensors = list(_tensors(file, architecture, table, ignored))
        yield from tensors
    yield _tokenizer(path)
    if architecture.is_draft:
        yield Check("finite", "-", "a draft runs with its model only")
    elif all(check.status != "FAILED" for check in tensors):
        yield _finite(path)
        yield _golden(path, golden, bound) if golden else Check("golden", "-", "no file given")


def _shapes(file: GGUFFile) -> dict[str, tuple[int, ...]]:
    return {name: info.shape for name, info in file.tensors.items()}


def _origin(architecture: Architecture) -> str:
    return registry.default().origins[f"architecture {architecture.name}"]


def _tensors(file: GGUFFile, architecture: Architecture, table: WeightTable, ignored: Sequence[str]) -> Iterator[Check]:
    """Yield one line if all tensors are correct, else one per missing, wrong or undeclared tensor."""
    found, wrong = Collector(file, table), 0
    for name, weight in table.items():
        try:
            found.take(name, weight)
        except TensorError as error:
            wrong += 1
            says = str(error)
            if name + weight.suffix in file.tensors:
                says += f"; {tuple(weight.shape)} follows from {_reason(file, architecture, name)}"
            yield Check("tensor", "FAILED", says)
    for name in found.unused(ignored):
        wrong += 1
        yield Check("tensor", "FAILED", f"{name}: not declared by {architecture.name}")
    if not wrong:
        left = len(found.unused())
        more = f"; {left} others are unused" if left else ""
        yield Check("tensors", "ok", f"{len(file.tensors) - left} match the declaration of {architecture.name}{more}")


def _reason(file: GGUFFile, architecture: Architecture, name: str) -> str:
    """Return the metadata keys that a tensor's shape depends on, found by changing each."""
    prefix = f"{architecture.name}."
    numbers = {k: v for k, v in file.metadata.items() if k.startswith(prefix) and isinstance(v, int) and v > 0}
    if TOKENS_KEY in file.metadata:
        numbers[TOKENS_KEY] = file.metadata.field(TOKENS_KEY).n
    before = _shape(file, architecture, name, {})
    keys = [key for key, n in numbers.items() if _shape(file, architecture, name, {key: 2 * n}) not in (before, None)]
    return " and ".join(f"{key} = {numbers[key]}" for key in keys) or "the architecture alone"


def _shape(file: GGUFFile, architecture: Architecture, name: str, changed: Mapping[str, int]) -> Any:
    """Return the declared shape of a tensor with changed metadata; None if that is invalid."""
    metadata: dict[str, Any] = {key: file.metadata[key] for key in file.metadata if key != TOKENS_KEY}
    if TOKENS_KEY in file.metadata:
        metadata[TOKENS_KEY] = range(file.metadata.field(TOKENS_KEY).n)
    metadata.update({key: range(n) if key == TOKENS_KEY else n for key, n in changed.items()})
    try:
        hp = architecture.fitted(architecture.hparams(ArchMetadata(metadata, architecture.name)), _shapes(file))
        weight = expand(architecture.tensors(hp), hp.n_layer).get(name)
    except (RealizarError, ArithmeticError, ValueError):
        return None
    return weight and weight.shape


def _tokenizer(path: Path) -> Check:
    """Check that texts survive encoding and decoding."""
    from realizar.tokenizer import Tokenizer

    with GGUFFile(path) as file:
        kind = file.metadata.get("tokenizer.ggml.model")
        if kind in (None, "none", "no_vocab"):
            return Check("tokenizer", "-", "the file has none")
        try:
            tokenizer = Tokenizer.from_gguf(file.metadata, registry.default().pretokenizers)
            for text in TEXTS:
                ids = tokenizer.encode(text, add_special=False)
                if kind not in LOSSLESS_TOKENIZERS and any(map(tokenizer.is_hidden, ids)):  # unknown tokens
                    continue
                if kind == "whitespace":  # drops the whitespace between words
                    continue
                back = tokenizer.decode(ids)
                same = back == text if kind in LOSSLESS_TOKENIZERS else tokenizer.encode(back, add_special=False) == ids
                if not same:
                    return Check("tokenizer", "FAILED", f"{text!r} is decoded as {back!r}")
        except RealizarError as error:
            return Check("tokenizer", "FAILED", str(error))
    return Check("tokenizer", "ok", f"{kind}, {tokenizer.n_vocab} tokens; {len(TEXTS)} texts round-trip")


def _finite(path: Path) -> Check:
    """Check that the outputs for a few tokens are finite."""
    return _computed(path, "finite", lambda llm: _all_finite(_outputs(llm, _some_tokens(llm))))


def _golden(path: Path, golden: Path, bound: float) -> Check:
    """Compare outputs with the expected ones in a .npz file."""
    with np.load(golden) as arrays:
        outputs = next((key for key in ("logits", "hidden") if key in arrays), None)
        if "tokens" not in arrays or outputs is None:
            raise ParameterError(
                f"{golden}: has {', '.join(arrays)}; needs tokens [n] and 'logits' [n, n_vocab], or 'hidden' "
                "[n, n_embd] for an encoder, and dec_tokens for an encoder-decoder"
            )
        tokens, want = arrays["tokens"].tolist(), arrays[outputs].astype(np.float64)
        answer = arrays["dec_tokens"].tolist() if "dec_tokens" in arrays else None

    def compare(llm: Any) -> tuple[bool, str]:
        found = _outputs(llm, tokens, answer)
        if found.shape != want.shape:
            return False, f"shape {found.shape}, but {want.shape} in {golden.name}"
        error = float(np.linalg.norm(found - want) / np.linalg.norm(want))
        return error <= bound, f"relative error {error:.2g} over {len(tokens)} tokens, allowed is {bound:g}"

    return _computed(path, "golden", compare)


def _computed(path: Path, name: str, check: Callable[[Any], tuple[bool, str]]) -> Check:
    """Load the model with float32 activations and KV cache, and run a check on it."""
    from realizar.llm import LLM

    try:
        with LLM(path, activations="f32", kv_type="f32", n_seqs=1) as llm:
            ok, says = check(llm)
    except RealizarError as error:
        return Check(name, "FAILED", str(error))
    return Check(name, "ok" if ok else "FAILED", says)


def _some_tokens(llm: Any) -> list[int]:
    n = min(N_TOKENS, llm.n_ctx)
    tokens: list[int] = np.random.default_rng(0).integers(0, llm.engine.model.hp.n_vocab, n).tolist()
    return tokens


def _outputs(llm: Any, tokens: list[int], answer: list[int] | None = None) -> npt.NDArray[np.float32]:
    """Return the logits of each token (of the decoder, if there is an encoder), or an encoder's hidden states."""
    graphs = llm.engine.model.graphs
    if "decode" not in graphs:
        hidden: npt.NDArray[np.float32] = llm.embed(tokens, pooling=None)[0]
        return hidden
    if "encode" in graphs:
        answer = answer or [llm.engine.model.decoder_start, *tokens[:-1]]
    logits: npt.NDArray[np.float32] = llm.logits(tokens, decoder_tokens=answer)
    return logits


def _all_finite(outputs: npt.NDArray[np.float32]) -> tuple[bool, str]:
    n = int(np.sum(~np.isfinite(outputs)))
    if n:
        return False, f"{n} of {outputs.size} outputs are not finite; a tensor may contain infinities or NaN"
    return True, f"outputs of {len(outputs)} tokens are between {outputs.min():.3g} and {outputs.max():.3g}"
