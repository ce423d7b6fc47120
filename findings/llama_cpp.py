"""The prompt that llama.cpp makes of a chat template, for scripts of this folder that install xllamacpp."""

import json
import tempfile
import urllib.request
from pathlib import Path

import gguf
import numpy as np
import xllamacpp


def write_model(path):
    """Write a model of zeros: llama.cpp renders templates only for a loaded model."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(32)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(["a", "b", "ab", "\u010a"])
    writer.add_token_types([gguf.TokenType.NORMAL] * 4)
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(3)
    writer.add_tensor("token_embd.weight", np.zeros((4, 32), np.float32))
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(32, np.float32))
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        writer.add_tensor(f"blk.0.{name}.weight", np.zeros((32, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def prompt(template, messages, **request):
    """Return the prompt of llama-server's `/apply-template`; `request` has further fields, such as tools."""
    with tempfile.TemporaryDirectory() as folder:
        params = xllamacpp.CommonParams()
        params.model.path = str(Path(folder, "model.gguf"))
        write_model(params.model.path)
        params.chat_template = template
        params.port, params.warmup, params.fit_params, params.verbosity = 0, False, False, 0
        server = xllamacpp.Server(params)
        body = json.dumps({"messages": messages, **request}).encode()
        address, headers = f"{server.listening_address}/apply-template", {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(address, body, headers)) as answer:
            return json.load(answer)["prompt"]
