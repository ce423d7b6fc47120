"""Tiny random drafts of EAGLE-3 for tiny random models, and the equations of the paper in float64."""

from dataclasses import replace

import numpy as np

from realizar import LLM, SamplingParams
from realizar.arch import registry
from realizar.engine.speculation import block_drafts
from realizar.gguf import GGMLType, GGUFFile, GGUFWriter
from realizar.model import load
from realizar.testing import N_VOCAB, tiny_metadata, tiny_model
from tests.engine.fake import Letters

Eagle3 = type(registry.default().architecture("eagle3"))
N_EMBD = 256
KEYS = {"eagle3.block_count": 1, "eagle3.target_layers": [0, 1, 2], "eagle3.target_hidden_size": N_EMBD}


def metadata(**changes):
    return {**tiny_metadata("eagle3"), **KEYS, **{f"eagle3.{key}": value for key, value in changes.items()}}


def write_draft(path, tokens=None, type_name="Q8_0", optional=True, tokenizer=None, **changes):
    """Write a draft; `tokens` are those of which it has logits, all by default."""

    class OfTokens(Eagle3):
        def hparams(self, md):
            return replace(super().hparams(md), n_draft_vocab=0 if tokens is None else len(tokens))

        def fitted(self, hp, shapes, target=None):
            return hp

    folder = path.parent / f"{path.stem}-parts"
    folder.mkdir()
    keys = {**metadata(**changes), **(tokenizer or {})}
    whole = folder / f"eagle3-{type_name}-True.gguf"
    with tiny_model(OfTokens(), keys, type_name, folder):
        pass
    dropped = () if optional else ("token_embd.weight", *(("output.weight",) if tokens is None else ()))
    with GGUFFile(whole) as file:
        writer = GGUFWriter(path)
        for key, value in keys.items():
            writer.add(key, value)
        for name, info in file.tensors.items():
            if name not in dropped:
                writer.add_tensor(name, file.data(name), info.shape, info.type)
        if tokens is not None:
            ids = np.asarray(tokens, np.int64)
            writer.add_tensor("d2t", ids.view(np.uint8), ids.shape, GGMLType.I64)
        writer.write()
    return path


def open_both(path, draft):
    """The model and, attached to it, the draft."""
    model = load(path)
    model.attach(load(draft, target=model))
    return model


def drafted_by_engine(target, draft, tokens, monkeypatch, n=4):
    """The logits [n, n_draft_vocab] of n draft tokens after a text, float32, and the tokens but the last one."""
    monkeypatch.setattr(block_drafts, "LEAST_CHANCE", 0.0)
    with LLM(target, draft=draft, activations="f32", kv_type="f32", n_ctx=64) as llm:
        engine, found, read = llm.engine, [], []
        engine.model.__dict__["tokenizer"] = Letters()
        run = engine.runner.draft

        def noting(rows):
            logits, hidden = run(rows)
            found.append(logits[0].copy())
            read.append(rows[0].token)
            return logits, hidden

        engine.runner.draft = noting
        engine.speculator._n_steps = lambda drafters: n
        only = SamplingParams(max_tokens=n + 2, allowed_token_ids=tokens[-1:])
        engine.complete([engine.generate(tokens[:-1], only)])
    assert read[0] == tokens[-1]
    return np.array(found[:n]), read[1:n]


def _norm(x, w, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * w


def _rotated(x, positions, factors, base=10000.0):
    """x [n, n_head, head_dim] with neighbouring pairs rotated, as in GGUF files of Llama."""
    dims = x.shape[-1]
    angles = positions[:, None] * base ** (-np.arange(0, dims, 2) / dims) / factors
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    out = np.empty_like(x)
    out[..., ::2] = x[..., ::2] * cos - x[..., 1::2] * sin
    out[..., 1::2] = x[..., ::2] * sin + x[..., 1::2] * cos
    return out


class Paper:
    """The draft's equations (Li et al. 2025, section 3.1; SafeAILab's EAGLE, eagle/model/cnets.py), in float64.

    Row t reads token t + 1 and the state g of row t, at position t, so that n tokens and n states give n - 1 rows.
    """

    def __init__(self, tensors, hp, draft_tokens):
        self.w = {name.removeprefix("draft."): t.floats().astype(np.float64) for name, t in tensors.items()}
        self.hp, self.draft_tokens = hp, draft_tokens

    def fused(self, features):
        """The features of three layers [n, 3 * n_target] -> states g [n, n_embd]."""
        x = features.astype(np.float64)
        if self.hp.norm_before_fc:
            x = _norm(x, self.w["enc.output_norm.weight"], self.hp.norm_eps)
        return x @ self.w["fc.weight"].T

    def rows(self, tokens, g):
        """Tokens after those of the states, int [n]; states [n, n_embd] -> logits, next states."""
        hp, w, n = self.hp, self.w, len(tokens)
        blk = {name[6:-7]: w[name] for name in w if name.startswith("blk.0.")}
        e = _norm(w["token_embd.weight"][tokens], blk["attn_norm"], hp.norm_eps)
        normed = _norm(g, blk["attn_norm_2"], hp.norm_eps)
        both = np.concatenate([e, normed], axis=1)
        q, k, v = (
            (both @ blk[name].T).reshape(n, heads, hp.head_dim)
            for name, heads in (("attn_q", hp.n_head), ("attn_k", hp.n_head_kv), ("attn_v", hp.n_head_kv))
        )
        q, k = (_rotated(x, np.arange(n), w["rope_freqs.weight"]) for x in (q, k))
        k, v = (np.repeat(x, hp.n_head // hp.n_head_kv, axis=1) for x in (k, v))
        s = np.einsum("thd,shd->hts", q, k) * hp.head_dim**-0.5
        s = np.where(np.tri(n, dtype=bool), s, -np.inf)
        p = np.exp(s - s.max(-1, keepdims=True))
        a = np.einsum("hts,shd->thd", p / p.sum(-1, keepdims=True), v).reshape(n, -1)
        x = (normed if hp.norm_before_residual else g) + a @ blk["attn_output"].T
        h = _norm(x, blk["ffn_norm"], hp.norm_eps)
        gate = h @ blk["ffn_gate"].T
        x = x + (gate / (1 + np.exp(-gate)) * (h @ blk["ffn_up"].T)) @ blk["ffn_down"].T
        return _norm(x, w["output_norm.weight"], hp.norm_eps) @ w["output.weight"].T, x

    def chain(self, tokens, features, n):
        """The logits of n draft tokens after a text, given the features of all but its last token, and these tokens."""
        ids, g = list(tokens[1:]), self.fused(features)
        found, drafted = [], []
        for _ in range(n):
            logits, states = self.rows(ids, g)
            found.append(logits[-1])
            drafted.append(int(self.draft_tokens[logits[-1].argmax()]))
            ids, g = [*ids, drafted[-1]], np.concatenate([g, states[-1:]])
        return found, drafted


__all__ = ["N_VOCAB", "Eagle3", "Paper", "drafted_by_engine", "metadata", "open_both", "write_draft"]
