"""What the tests of grammars share: a vocabulary of small tokens, and whether a constraint takes a text."""

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
    """Return the ids of the tokens that may come next."""
    bits = np.unpackbits(constraint.mask().view(np.uint8), bitorder="little")
    return set(np.flatnonzero(bits).tolist())


def accepts(constraint, tokens):
    """Tell whether a text, or a list of token ids, is one of the whole texts that a constraint allows."""
    for token in tokens.encode() if isinstance(tokens, str) else tokens:
        if token not in allowed(constraint):
            return False
        constraint.advance(token)
    return END in allowed(constraint)


def run_apart(code, *arguments, given=""):
    """Run code behind this module's own in a process of its own, which llguidance may end; return the lines printed."""
    code = Path(__file__).read_text(encoding="utf-8") + code
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], input=given, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()
