"""Shared by the tests of grammars: a small vocabulary, and whether a constraint accepts a text."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from realizar.sampling.grammar import ConstraintFactory
from realizar.tokenizer import Tokenizer

NAMES = ("<eos>", "<think>")
WORDS = ("ab", "abc", "end", "1. ", '{"', '":', "true", "é", "日本")
END, THINK = 256, 257
TOKENS = [*(bytes([byte]) for byte in range(256)), *(name.encode() for name in NAMES), *(w.encode() for w in WORDS)]


def byte_tokenizer() -> Tokenizer:
    """Return a tokenizer of all bytes, two control tokens and a few words."""
    spelled = [f"<0x{byte:02X}>" for byte in range(256)]
    tokens = [*spelled, *NAMES, *WORDS]
    return Tokenizer.from_gguf({
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [6] * 256 + [3] * len(NAMES) + [1] * len(WORDS),
        "tokenizer.ggml.scores": [0.0] * len(tokens),
        "tokenizer.ggml.eos_token_id": END,
        "tokenizer.ggml.bos_token_id": END,
        "tokenizer.ggml.unknown_token_id": END,
    })  # fmt: skip


FACTORY = ConstraintFactory(byte_tokenizer())


def allowed(constraint):
    """Return the ids of the tokens allowed next."""
    bits = np.unpackbits(constraint.mask().view(np.uint8), bitorder="little")
    return set(np.flatnonzero(bits).tolist())


def accepts(constraint, tokens):
    """Return whether a constraint accepts a text (or a list of token ids) as complete."""
    for token in tokens.encode() if isinstance(tokens, str) else tokens:
        if token not in allowed(constraint):
            return False
        constraint.advance(token)
    return END in allowed(constraint)


def run_apart(code, *arguments, given=""):
    """Run code after this module's own in a separate process, which llguidance may crash; return the printed lines."""
    code = Path(__file__).read_text(encoding="utf-8") + code
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], input=given, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()
