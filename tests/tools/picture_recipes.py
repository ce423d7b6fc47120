"""The tiny vision-language models of which make_picture_cases makes recipes: configurations of transformers."""

from tests.pictures.checkpoint import N_VOCAB
from tests.tools.picture_models import HALF, SIGLIP, TinyVision

CLIP = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
PLAIN = (
    "{% for m in messages %}[{{ m.role }}]{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for p in m.content %}{% if p.type == 'image' %}MARKER{% else %}{{ p.text }}{% endif %}{% endfor %}{% endif %}"
    "\n{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)


def template(marker: str) -> str:
    """A chat template that writes a marker for each picture."""
    return PLAIN.replace("MARKER", marker)


RECIPES = {
    "gemma4v": TinyVision(
        "Gemma4Config", "Gemma4ForConditionalGeneration", "gemma4.image_processing_pil_gemma4.Gemma4ImageProcessorPil",
        vision={
            "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
            "num_key_value_heads": 2, "head_dim": 8, "patch_size": 4, "position_embedding_size": 48,
            "use_clipped_linears": True, "standardize": True,
        },
        sizes={"patch_size": 4, "max_soft_tokens": 70, "pooling_kernel_size": 3},
        special=("<eos>", "<turn|>", "<pad>", "<bos>", "<|image|>", "<|image>", "<image|>", "<|turn>"),
        template=template("<|image|>"), types="mm_token_type_ids",
        text={
            "tie_word_embeddings": True, "sliding_window": 16, "num_hidden_layers": 4, "global_head_dim": 32,
            "layer_types": ["sliding_attention", "full_attention"] * 2, "num_kv_shared_layers": 1, "pad_token_id": 0,
            "hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": N_VOCAB, "final_logit_softcapping": 30.0,
            "rope_parameters": {
                "full_attention": {"rope_type": "proportional", "rope_theta": 1e6, "partial_rotary_factor": 0.25},
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            },
        },
        config={"audio_config": None, "tie_word_embeddings": True, "boi_token_id": 261, "eoi_token_id": 262,
                "video_token_id": 270, "audio_token_id": 271},
        fixed={"input_min": -2.0, "input_max": 2.5, "output_min": -2.0, "output_max": 2.0},
    ),
}  # fmt: skip
__all__ = ["HALF", "RECIPES", "SIGLIP"]
