#!/usr/bin/env bash
# transformers 5.24.0: a GGUF file's scaling of rotary positions is ignored, as keys and as the tensor rope_freqs.weight.
#
# Files of Llama 3.1 to 3.3 have the scaling as that tensor, other long-context models as `llama.rope.scaling.*`;
# `from_pretrained(gguf_file=)` reads their weights, so that the model seems to be the one in the file.
# Expected: logits that depend on the scaling, or an error.
# Seen: the logits of the same file without any scaling, to the last bit; rope_parameters say "default". No warning.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile transformers==5.24.0 gguf==0.19.0 torch==2.13.0 accelerate==1.15.0 numpy==2.3.5
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import gguf
import numpy as np
import torch
import transformers

N_VOCAB, N_EMBD, N_FF = 8, 32, 64
LINEAR = {"rope_type": "linear", "factor": 8.0, "rope_theta": 10000.0}
SHAPES = {"ffn_gate": (N_FF, N_EMBD), "ffn_up": (N_FF, N_EMBD), "ffn_down": (N_EMBD, N_FF)}


def load(scaling):
    writer = gguf.GGUFWriter("model.gguf", "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(N_EMBD)
    writer.add_feed_forward_length(N_FF)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_rope_dimension_count(16)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(N_VOCAB)
    random = np.random.default_rng(0)
    for name in ("token_embd", "output"):
        writer.add_tensor(f"{name}.weight", random.standard_normal((N_VOCAB, N_EMBD)).astype(np.float32))
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", *SHAPES):
        shape = SHAPES.get(name, (N_EMBD, N_EMBD))
        writer.add_tensor(f"blk.0.{name}.weight", random.standard_normal(shape).astype(np.float32))
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(N_EMBD, np.float32))
    scaling(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return transformers.AutoModelForCausalLM.from_pretrained(".", gguf_file="model.gguf")


def logits(model):
    with torch.no_grad():
        return model(torch.arange(N_VOCAB)[None]).logits[0, -1]


def linear(writer):
    writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
    writer.add_rope_scaling_factor(8.0)


def frequencies(writer):
    writer.add_tensor("rope_freqs.weight", np.array([1, 1, 1, 1, 2, 4, 8, 8], np.float32))


print("transformers", transformers.__version__, "torch", torch.__version__)
plain = load(lambda writer: None)
config = transformers.LlamaConfig(**plain.config.to_dict() | {"rope_parameters": LINEAR})
scaled = transformers.LlamaForCausalLM(config)
scaled.load_state_dict(plain.state_dict())
print("with", LINEAR, "the logits are", "the same" if torch.equal(logits(scaled), logits(plain)) else "others")
changed = torch.equal(logits(scaled), logits(plain))
for scaling in (linear, frequencies):
    seen = load(scaling)
    equal = torch.equal(logits(seen), logits(plain))
    what = f"{'the same' if equal else 'others'} and {seen.config.rope_parameters}"
    print(f"{scaling.__name__}: expected other logits than without scaling; seen {what}")
    changed |= not equal
raise SystemExit(changed)
PYTHON
