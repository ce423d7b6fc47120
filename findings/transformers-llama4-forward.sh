#!/usr/bin/env bash
# transformers 5.24.0: Llama4ForConditionalGeneration cannot run, with text alone or with a picture.
#
# It is the class that Llama 4's config.json names, so that AutoModelForImageTextToText makes it for Scout and Maverick.
# Expected: logits.
# Seen: forward and generate raise AttributeError after all layers have run, since forward reads `image_outputs` of the
# language model's output, which has none. The language model inside gives logits.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile transformers==5.24.0 torch==2.13.0 numpy==2.3.5
"$folder/venv/bin/python" - <<'PYTHON'
import torch
import transformers
from transformers import Llama4Config, Llama4ForConditionalGeneration

N_VOCAB, IMAGE = 64, 60
config = Llama4Config(
    text_config=dict(
        vocab_size=N_VOCAB, hidden_size=32, intermediate_size=32, intermediate_size_mlp=32, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, head_dim=16, num_local_experts=2, pad_token_id=0,
    ),
    vision_config=dict(
        hidden_size=32, intermediate_size=128, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14,
        vision_output_dim=32, projector_input_dim=32, projector_output_dim=32,
    ),
    image_token_index=IMAGE,
)
torch.manual_seed(0)
model = Llama4ForConditionalGeneration(config).eval()
text, picture = torch.tensor([[1, 2, 3]]), torch.tensor([[1, IMAGE, 2]])
pixels = torch.randn(1, 3, 28, 28)


def outcome(call):
    try:
        with torch.no_grad():
            found = call()
        return f"shape {tuple(getattr(found, 'logits', found).shape)}"
    except AttributeError as error:
        return f"AttributeError: {error}"


print("transformers", transformers.__version__)
known = "AttributeError: 'MoeCausalLMOutputWithPast' object has no attribute 'image_outputs'"
seen = {
    "forward, text": outcome(lambda: model(text)),
    "forward, text and picture": outcome(lambda: model(picture, pixel_values=pixels)),
    "generate, text": outcome(lambda: model.generate(text, max_new_tokens=1)),
}
inside = outcome(lambda: model.language_model(text))
for what, found in seen.items():
    print(f"{what}: expected logits or ids, seen {found}")
print(f"language_model, text: {inside}")
raise SystemExit(set(seen.values()) != {known} or inside != f"shape (1, 3, {N_VOCAB})")
PYTHON
