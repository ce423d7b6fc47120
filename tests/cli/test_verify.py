"""`verify` on valid and damaged fixtures: the report, and the explanation of expected shapes."""

import numpy as np
import pytest

from realizar.arch import registry
from realizar.testing import tiny_metadata, tiny_model
from tests.limits.models import LLAMA, QWEN2, rewritten
from tests.shared import SHARED, needs_shared

GOLDEN = np.load(QWEN2.parent / "golden.npz")


def lines(out):
    return {line.split()[0]: line.split(maxsplit=2)[1:] for line in out.splitlines()}


@pytest.mark.parametrize("path", [LLAMA, QWEN2])
def test_valid_file(path, realizar):
    status, out, err = realizar("verify", str(path))
    assert (status, err) == (0, "")
    found = lines(out)
    assert list(found) == ["file", "architecture", "tensors", "tokenizer", "finite", "golden"]
    assert {row[0] for row in found.values()} == {"ok", "-"}


def with_tensor(path, target, name, change):
    """Write a copy in which `change` replaces (name, data, shape, type) of tensors."""
    return rewritten(path, target, tensors=lambda n, *row: change(n, *row) if n == name else (n, *row))


@needs_shared
@pytest.mark.parametrize("case", ["bert", "roberta", "xlm_roberta", "nomic_bert", "t5", "flan_t5"])
def test_encoders(case, realizar):
    status, out, _ = realizar("verify", str(SHARED / "parity" / case / "model-q8_0.gguf"))
    assert (status, out.count(" ok ")) == (0, 5), out


def test_a_file_without_a_vocabulary(tmp_path, realizar):
    metadata = {**tiny_metadata("llama"), "tokenizer.ggml.model": "none"}
    with tiny_model(registry.default().architecture("llama"), metadata, "Q8_0", tmp_path) as model:
        path = model.file.path
    status, out, _ = realizar("verify", str(path))
    assert (status, lines(out)["tokenizer"]) == (0, ["-", "the file has none"])


def test_wrong_shape_is_explained(tmp_path, realizar):
    name = "blk.1.ffn_down.weight"
    path = with_tensor(
        QWEN2, tmp_path / "m.gguf", name, lambda n, data, shape, t: (n, data[:-16], (shape[0] - 16, shape[1]), t)
    )
    status, out, _ = realizar("verify", str(path))
    assert status == 1
    line = next(line for line in out.splitlines() if name in line)
    assert "FAILED" in line
    assert "qwen2.embedding_length = 256 and qwen2.feed_forward_length = " in line
    assert "finite" not in out


def test_shape_that_depends_on_the_vocabulary(tmp_path, realizar):
    path = with_tensor(
        QWEN2, tmp_path / "m.gguf", "token_embd.weight", lambda n, data, shape, t: (n, data[1:], (shape[0] - 1, 256), t)
    )
    status, out, _ = realizar("verify", str(path))
    assert status == 1
    assert "tokenizer.ggml.tokens = " in out


def test_missing_and_undeclared_tensors(tmp_path, realizar):
    path = with_tensor(
        LLAMA, tmp_path / "m.gguf", "blk.1.ffn_norm.weight", lambda n, *row: ("blk.1.ffn_nrom.weight", *row)
    )
    status, out, _ = realizar("verify", str(path))
    assert status == 1
    assert "blk.1.ffn_norm.weight: the architecture needs it" in out
    assert "blk.1.ffn_nrom.weight: not declared by llama" in out


def test_one_part_of_a_weight_is_missing(tmp_path, realizar):
    """The other parts, which could be stored fused, are not reported as undeclared."""
    path = rewritten(LLAMA, tmp_path / "m.gguf", tensors=lambda n, *row: None if "1.attn_q." in n else (n, *row))
    status, out, _ = realizar("verify", str(path))
    assert (status, out.count("FAILED")) == (1, 1), out
    assert "blk.1.attn_q.weight: the architecture needs it" in out


def test_non_finite_logits(tmp_path, realizar):
    def infinite(n, data, shape, t):
        return n, np.full(shape, np.inf, np.float32).view(np.uint8), shape, t

    path = with_tensor(LLAMA, tmp_path / "m.gguf", "output_norm.weight", infinite)
    status, out, _ = realizar("verify", str(path))
    assert status == 1
    assert lines(out)["finite"][0] == "FAILED"


def test_golden(tmp_path, realizar):
    golden = tmp_path / "golden.npz"
    np.savez(golden, tokens=GOLDEN["tokens"], logits=GOLDEN["logits_q4_k_m_exact"])
    status, out, _ = realizar("verify", str(QWEN2), "--golden", str(golden))
    assert (status, lines(out)["golden"][0]) == (0, "ok")
    np.savez(golden, tokens=GOLDEN["tokens"], logits=GOLDEN["logits_q4_k_m_exact"][:, ::-1])
    status, out, _ = realizar("verify", str(QWEN2), "--golden", str(golden))
    assert (status, lines(out)["golden"][0]) == (1, "FAILED")
    np.savez(golden, tokens=GOLDEN["tokens"])
    status, _, err = realizar("verify", str(QWEN2), "--golden", str(golden))
    assert status == 1
    assert "'logits'" in err


@needs_shared
@pytest.mark.parametrize(
    ("case", "golden"),
    [("bert", {"hidden": "hf_hidden"}), ("t5", {"logits": "logits_f32", "dec_tokens": "dec_tokens"}), ("mamba", {})],
)
def test_golden_of_encoders(case, golden, tmp_path, realizar):
    arrays = np.load(SHARED / "parity" / case / "golden.npz")
    scale = arrays["logits_f32"] / 16 if case == "t5" else None  # see the README of the parity set
    found = {ours: arrays[theirs] for ours, theirs in golden.items()} or {"logits": arrays["hf_logits"]}
    np.savez(tmp_path / "g.npz", tokens=arrays["tokens"], **{**found, **({} if scale is None else {"logits": scale})})
    path = SHARED / "parity" / case / "model-q8_0.gguf"
    status, out, _ = realizar("verify", str(path), "--golden", str(tmp_path / "g.npz"))
    assert status == 0, out
    assert realizar("plan", str(path), "--ctx", "128")[0] == 0


def test_file_is_not_a_model(tmp_path, realizar):
    path = tmp_path / "m.gguf"
    path.write_bytes(LLAMA.read_bytes()[:5000])
    status, out, _ = realizar("verify", str(path))
    assert status == 1
    assert out.startswith("file          FAILED")


def test_unused_tensors(tmp_path, realizar):
    path = rewritten(LLAMA, tmp_path / "m.gguf", more={"blk.0.attn_q.input_scale": np.ones(1)})
    status, out, _ = realizar("verify", str(path))
    assert status == 0, out
    assert "match the declaration of llama; 1 others are unused" in out
    path = rewritten(LLAMA, tmp_path / "n.gguf", more={"blk.0.attn_q.scale": np.zeros(1)})
    status, out, _ = realizar("verify", str(path))
    assert status == 1
    assert "blk.0.attn_q.scale: 0; a product must be multiplied by a finite number" in out
