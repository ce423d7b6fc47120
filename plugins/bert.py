"""The BERT family: bert, nomic-bert, nomic-bert-moe, jina-bert-v2 and jina-bert-v3."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from realizar.arch import (
    LAYER_NORM_EPS,
    Architecture,
    ArchMetadata,
    Checkpoint,
    Graph,
    HParams,
    Value,
    Weight,
    Weights,
    WeightTable,
    hookimpl,
)
from realizar.arch.blocks import (
    mlp,
    mlp_tensors,
    norm_tensors,
    qkv,
    qkv_tensors,
    rank_head,
    rank_outputs,
    rank_tensors,
    rotate,
    swiglu_ffn,
    swiglu_tensors,
)
from realizar.arch.checkpoint import Array, Config, Key, Source, class_labels
from realizar.arch.experts import ExpertHParams, expert_hparams

ALIBI = 8.0  # the greatest exponent of ALiBi slopes in jina-bert-v2, a constant of its code


def n_positions(config: Config) -> int:
    """Number of usable positions; RoBERTa and its variants start after the padding token's id."""
    skipped = 0 if config["model_type"] == "bert" else int(config["pad_token_id"]) + 1
    return int(config["max_position_embeddings"]) - skipped


def positions(table: Array, hp: HParams) -> Array:
    """The rows of the position table that are used."""
    return table[len(table) - hp.n_ctx_train :]


def classes(*models: str) -> tuple[str, ...]:
    """Class names in transformers of these models with different heads."""
    heads = ("Model", "ForMaskedLM", "ForSequenceClassification")
    return tuple(model + head for model in models for head in heads)


EMBEDDINGS: dict[str, Source] = {
    "token_embd": "embeddings.word_embeddings",
    "token_types": "embeddings.token_type_embeddings",
    "token_embd_norm": "embeddings.LayerNorm|emb_ln",
}
ATTENTION: dict[str, Source] = {
    "blk.{i}.attn_q": "encoder.layer.{i}.attention.self.query",
    "blk.{i}.attn_k": "encoder.layer.{i}.attention.self.key",
    "blk.{i}.attn_v": "encoder.layer.{i}.attention.self.value",
    "blk.{i}.attn_output": "encoder.layer.{i}.attention.output.dense",
    "blk.{i}.attn_output_norm": "encoder.layer.{i}.attention.output.LayerNorm",
}
CLASS_HEAD: dict[str, Source] = {"cls": "classifier.dense", "cls.output": "classifier.out_proj"}
"""RoBERTa's classification head."""
HEADS = ("*pooler.*", "cls.*", "lm_head.*", "classifier.*", "score.*")
"""Tensors of other heads in checkpoints."""
KEYS: dict[str, Key] = {
    "attention.causal": lambda config: False,
    "tokenizer.ggml.token_type_count": "type_vocab_size",
}


class BertHParams(HParams):
    """The hyperparameters of an encoder.

    Attributes
    ----------
    n_types : int
        Number of token types (segments) with an embedding; all tokens here are of the first type.
    """

    n_types: int


class Bert(Architecture):
    """BERT, MiniLM, BGE, E5, RoBERTa and XLM-RoBERTa (https://arxiv.org/abs/1810.04805).

    Bidirectional attention; post-norm. RoBERTa's position table begins with the first token's row, since the converter
    drops the two rows before it.
    """

    name = "bert"
    norm_eps_key = LAYER_NORM_EPS
    checkpoint: ClassVar[Checkpoint | None] = Checkpoint(
        classes=classes("Bert", "Roberta", "XLMRoberta", "Camembert"),
        applies=lambda config: not config.get("lora_adaptations"),  # Jina Embeddings 3
        names={
            **EMBEDDINGS,
            "position_embd": ("embeddings.position_embeddings", positions),
            **ATTENTION,
            "blk.{i}.ffn_up": "encoder.layer.{i}.intermediate.dense",
            "blk.{i}.ffn_down": "encoder.layer.{i}.output.dense",
            "blk.{i}.layer_output_norm": "encoder.layer.{i}.output.LayerNorm",
            **CLASS_HEAD,
        },
        keys={**KEYS, "context_length": n_positions, "classifier.output_labels": class_labels},
        only={"hidden_act": ("gelu",), "position_embedding_type": ("absolute", None), "is_decoder": (False,)},
        ignored=HEADS,
    )

    def hparams(self, md: ArchMetadata) -> BertHParams:
        """The hyperparameters; the number of token types is a key of the tokenizer."""
        return BertHParams(**vars(super().hparams(md)), n_types=md.positive("tokenizer.ggml.token_type_count", 1))

    def tensors(self, hp: BertHParams) -> WeightTable:
        """Embeddings of tokens, types and positions; norms after attention and feed-forward."""
        types = (hp.n_types, hp.n_embd) if hp.n_types > 1 else (hp.n_embd,)
        return {
            "token_embd": Weight((hp.n_vocab, hp.n_embd)),
            "token_types": Weight(types, optional=True),
            "token_embd_norm": Weight((hp.n_embd,), bias=True),
            **self.place_tensors(hp),
            **qkv_tensors(hp, bias=None, output_bias=None),
            **norm_tensors(hp.n_embd, "attn_output_norm", "layer_output_norm", bias=True),
            **self.ffn_tensors(hp),
            **self.head_tensors(hp),
        }

    def head_tensors(self, hp: BertHParams) -> WeightTable:
        """The classification head of a reranker."""
        return rank_tensors(hp)

    def place_tensors(self, hp: BertHParams) -> WeightTable:
        """The learned position table."""
        return {"position_embd": Weight((hp.n_ctx_train, hp.n_embd))}

    def ffn_tensors(self, hp: BertHParams) -> WeightTable:
        """The feed-forward tensors."""
        return mlp_tensors(hp.n_embd, hp.n_ff, bias=None)

    def embed(self, g: Graph, w: Weights, hp: BertHParams) -> Value:
        """The sum of token, type and position embeddings."""
        return self.embed_tokens(g, w) + g.embed_positions(w.position_embd)

    def embed_tokens(self, g: Graph, w: Weights) -> Value:
        """The sum of token and type embeddings."""
        x = g.embed(w.token_embd)
        return x if w.token_types is None else x + g.embed_types(w.token_types)

    def attention(self, g: Graph, x: Value, blk: Any, hp: BertHParams) -> Value:
        """Bidirectional attention."""
        return g.attention(*qkv(g, x, blk, hp), scale=hp.head_dim**-0.5, causal=False)

    def ffn(self, g: Graph, x: Value, blk: Any, hp: Any) -> Value:
        """down(gelu(up(x)))."""
        return mlp(g, x, blk, g.gelu_erf)

    def layer(self, g: Graph, x: Value, blk: Any, hp: BertHParams) -> Value:
        """x = norm(x + attention(x)); x = norm(x + ffn(x))."""
        a = g.linear(self.attention(g, x, blk, hp), blk.attn_output)
        x = g.layer_norm(x + a, blk.attn_output_norm, eps=hp.norm_eps)
        return g.layer_norm(x + self.ffn(g, x, blk, hp), blk.layer_output_norm, eps=hp.norm_eps)

    def hidden(self, g: Graph, w: Weights, hp: BertHParams) -> Value:
        """The state of every token after the last layer."""
        x = g.layer_norm(self.embed(g, w, hp), w.token_embd_norm, eps=hp.norm_eps)
        for blk in w.blk:
            x = self.layer(g, x, blk, hp)
        return x

    def build(self, g: Graph, w: Weights, hp: BertHParams) -> Mapping[str, Value]:
        """The hidden state of every token."""
        return {"hidden": self.hidden(g, w, hp)}

    def rank(self, g: Graph, w: Weights, hp: BertHParams) -> Mapping[str, Value] | None:
        """The classification head on the first token's state."""
        return rank_head(g, w, lambda: g.pool_first(self.hidden(g, w, hp)))

    def programs(self) -> Mapping[str, Any]:
        """An encoder generates no text; rerankers have a head."""
        return {"encode": self.build, "rank": self.rank}


class NomicBert(Bert):
    """Nomic Embed: BERT with rotary positions and a gated feed-forward (https://arxiv.org/abs/2402.01613)."""

    name = "nomic-bert"
    checkpoint: ClassVar[Checkpoint | None] = Checkpoint(
        classes=classes("NomicBert"),
        names={
            **EMBEDDINGS,
            "blk.{i}.attn_qkv": "encoder.layers.{i}.attn.Wqkv",
            "blk.{i}.attn_output": "encoder.layers.{i}.attn.out_proj",
            "blk.{i}.attn_output_norm": "encoder.layers.{i}.norm1",
            "blk.{i}.ffn_gate": "encoder.layers.{i}.mlp.fc12",
            "blk.{i}.ffn_up": "encoder.layers.{i}.mlp.fc11",
            "blk.{i}.ffn_down": "encoder.layers.{i}.mlp.fc2",
            "blk.{i}.layer_output_norm": "encoder.layers.{i}.norm2",
        },
        keys={**KEYS, "context_length": ("max_trained_positions", "max_position_embeddings", "n_positions")},
        only={
            "hidden_act": ("silu",),
            "activation_function": ("swiglu",),
            "prenorm": (False,),
            "rotary_emb_fraction": (1.0,),
            "rotary_emb_interleaved": (False,),
        },
        ignored=HEADS,
    )

    def place_tensors(self, hp: BertHParams) -> WeightTable:
        """None: the model has rotary positions."""
        return {}

    def ffn_tensors(self, hp: BertHParams) -> WeightTable:
        """The feed-forward tensors: SwiGLU."""
        return swiglu_tensors(hp.n_embd, hp.n_ff, bias=None)

    def embed(self, g: Graph, w: Weights, hp: BertHParams) -> Value:
        """The sum of token and type embeddings."""
        return self.embed_tokens(g, w)

    def attention(self, g: Graph, x: Value, blk: Any, hp: BertHParams) -> Value:
        """Bidirectional attention with rotary embedding of style "neox"."""
        q, k, v = qkv(g, x, blk, hp)
        return g.attention(*rotate(g, hp, "neox", q, k), v, scale=hp.head_dim**-0.5, causal=False)

    def ffn(self, g: Graph, x: Value, blk: Any, hp: Any) -> Value:
        """down(silu(gate(x)) * up(x))."""
        return swiglu_ffn(g, x, blk)


class NomicMoeHParams(BertHParams, ExpertHParams):
    """The hyperparameters of Nomic Embed 2."""


class NomicBertMoe(NomicBert):
    """Nomic Embed 2: Nomic Embed without gates, and with experts in every other layer.

    https://arxiv.org/abs/2502.07972. The weights of the chosen experts are not normalized.
    """

    name = "nomic-bert-moe"
    checkpoint = None

    def hparams(self, md: ArchMetadata) -> NomicMoeHParams:
        """The hyperparameters; an expert is as wide as a dense feed-forward."""
        experts = expert_hparams(Architecture.hparams(self, md), md)
        return NomicMoeHParams(**vars(experts), n_types=super().hparams(md).n_types)

    def ffn_tensors(self, hp: Any) -> WeightTable:
        """Experts where a layer has a router, else a dense feed-forward."""
        router, shape = "ffn_gate_inp", (hp.n_expert, hp.n_ff_expert, hp.n_embd)
        dense = mlp_tensors(hp.n_embd, hp.n_ff, bias=None)
        return {
            f"blk.{{i}}.{router}": Weight((hp.n_expert, hp.n_embd), optional=True),
            "blk.{i}.ffn_up_exps": Weight(shape, where=router),
            "blk.{i}.ffn_down_exps": Weight((hp.n_expert, hp.n_embd, hp.n_ff_expert), where=router),
            **{name: replace(weight, unless=router) for name, weight in dense.items()},
        }

    def ffn(self, g: Graph, x: Value, blk: Any, hp: Any) -> Value:
        """down(gelu(up(x))), or the weighted sum of that of two experts."""
        if blk.ffn_gate_inp is None:
            return mlp(g, x, blk, g.gelu_erf)
        choice = g.route(g.linear(x, blk.ffn_gate_inp), hp.n_expert_used, scale=hp.expert_scale)
        return g.experts(x, choice, gate=None, up=blk.ffn_up_exps, down=blk.ffn_down_exps, activation="gelu_erf")


class JinaBertV3(NomicBert):
    """Jina Embeddings 3: XLM-RoBERTa with rotary positions (https://arxiv.org/abs/2409.10173).

    Without the adapters for tasks, which are files of their own.
    """

    name = "jina-bert-v3"
    checkpoint = Checkpoint(
        classes=("XLMRobertaModel", "JinaEmbeddingsV3Model", "JinaEmbeddingsV3ForMaskedLM"),
        names={
            name: f"{source}|{source}.parametrizations.weight.original"  # where adapters are part of the checkpoint
            for name, source in {
                "token_embd": "embeddings.word_embeddings",
                "token_types": "embeddings.token_type_embeddings",
                "blk.{i}.attn_qkv": "encoder.layers.{i}.mixer.Wqkv",
                "blk.{i}.attn_output": "encoder.layers.{i}.mixer.out_proj",
                "blk.{i}.ffn_up": "encoder.layers.{i}.mlp.fc1",
                "blk.{i}.ffn_down": "encoder.layers.{i}.mlp.fc2",
            }.items()
        }
        | {
            "token_embd_norm": "emb_ln",
            "blk.{i}.attn_output_norm": "encoder.layers.{i}.norm1",
            "blk.{i}.layer_output_norm": "encoder.layers.{i}.norm2",
        },
        keys={**KEYS, "context_length": n_positions},
        only={"hidden_act": ("gelu",), "position_embedding_type": ("rotary",)},
        applies=lambda config: bool(config.get("lora_adaptations")) or "Jina" in config["architectures"][0],
        ignored=(*HEADS, "*.lora_A", "*.lora_B"),
    )

    def ffn_tensors(self, hp: BertHParams) -> WeightTable:
        """The feed-forward tensors: no gate."""
        return mlp_tensors(hp.n_embd, hp.n_ff, bias=None)

    def ffn(self, g: Graph, x: Value, blk: Any, hp: Any) -> Value:
        """down(gelu(up(x)))."""
        return mlp(g, x, blk, g.gelu_erf)


class JinaBertV2(Bert):
    """Jina Embeddings 2: BERT with ALiBi and a gated feed-forward (https://arxiv.org/abs/2310.19923).

    The models for code normalize q and k, and add the layer's input a second time after attention. Gate and up are
    mostly one fused tensor, called ffn_up.
    """

    name = "jina-bert-v2"
    checkpoint = Checkpoint(
        classes=classes("JinaBert"),
        names={
            **EMBEDDINGS,
            **ATTENTION,
            "blk.{i}.ffn_up": "encoder.layer.{i}.mlp.gated_layers",
            "blk.{i}.ffn_down": "encoder.layer.{i}.mlp.wo",
            "blk.{i}.layer_output_norm": "encoder.layer.{i}.mlp.layernorm",
        },
        keys=KEYS,
        only={"hidden_act": ("gelu",), "feed_forward_type": ("geglu",), "position_embedding_type": ("alibi",)},
        ignored=HEADS,
    )

    def place_tensors(self, hp: BertHParams) -> WeightTable:
        """No position table (ALiBi); norms that only the models for code have."""
        n_q, n_k = hp.n_head * hp.head_dim, hp.n_head_kv * hp.head_dim
        norms = {"attn_q_norm": n_q, "attn_k_norm": n_k, "attn_norm_2": hp.n_embd}
        return {f"blk.{{i}}.{name}": Weight((n,), bias=True, optional=True) for name, n in norms.items()}

    def head_tensors(self, hp: BertHParams) -> WeightTable:
        """The head of Jina Reranker 1: one row."""
        return {"cls": Weight((1, hp.n_embd), bias=None, optional=True)}

    def rank(self, g: Graph, w: Weights, hp: BertHParams) -> Mapping[str, Value] | None:
        """tanh(W x) of the first token's state, as in llama.cpp: files lack the pooler before it."""
        if w.cls is None:
            return None
        return rank_outputs(g, g.tanh(g.linear(g.pool_first(self.hidden(g, w, hp)), w.cls)))

    def ffn_tensors(self, hp: BertHParams) -> WeightTable:
        """The feed-forward tensors; gate and up are one fused tensor, gate first, or two."""
        return swiglu_tensors(hp.n_embd, hp.n_ff, bias=None)

    def embed(self, g: Graph, w: Weights, hp: BertHParams) -> Value:
        """The sum of token and type embeddings."""
        return self.embed_tokens(g, w)

    def attention(self, g: Graph, x: Value, blk: Any, hp: BertHParams) -> Value:
        """Bidirectional attention with ALiBi."""
        q, k = g.linear(x, blk.attn_q), g.linear(x, blk.attn_k)
        if blk.attn_q_norm is not None:
            q = g.layer_norm(q, blk.attn_q_norm, eps=hp.norm_eps)
        if blk.attn_k_norm is not None:
            k = g.layer_norm(k, blk.attn_k_norm, eps=hp.norm_eps)
        k, v = (g.heads(t, hp.n_head_kv) for t in (k, g.linear(x, blk.attn_v)))
        return g.attention(g.heads(q, hp.n_head), k, v, scale=hp.head_dim**-0.5, causal=False, alibi=ALIBI)

    def ffn(self, g: Graph, x: Value, blk: Any, hp: Any) -> Value:
        """down(gelu(gate(x)) * up(x))."""
        return g.linear(g.gelu_erf(g.linear(x, blk.ffn_gate)) * g.linear(x, blk.ffn_up), blk.ffn_down)

    def layer(self, g: Graph, x: Value, blk: Any, hp: BertHParams) -> Value:
        """As BERT's, with the second sum if the file has its norm."""
        a = g.linear(self.attention(g, x, blk, hp), blk.attn_output)
        y = g.layer_norm(x + a, blk.attn_output_norm, eps=hp.norm_eps)
        if blk.attn_norm_2 is not None:
            y = g.layer_norm(y + x, blk.attn_norm_2, eps=hp.norm_eps)
        return g.layer_norm(y + self.ffn(g, y, blk, hp), blk.layer_output_norm, eps=hp.norm_eps)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Bert, NomicBert, NomicBertMoe, JinaBertV2, JinaBertV3]
