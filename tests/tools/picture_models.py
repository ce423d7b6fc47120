"""The tiny vision-language models of which make_picture_cases makes cases: configurations of transformers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.pictures.checkpoint import N_VOCAB

TEXT = {
    "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "vocab_size": N_VOCAB,
    "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 512, "bos_token_id": 256, "eos_token_id": 257,
    "pad_token_id": 258, "tie_word_embeddings": False,
}  # fmt: skip
IMAGE = 260
"""The token that stands for a row of a picture in transformers' input."""


@dataclass(frozen=True)
class TinyVision:
    """A vision-language model of transformers.

    Attributes
    ----------
    config_class, model_class, processor : str
        Classes of transformers; the processor is one that uses Pillow.
    vision : dict
        The configuration of the encoder.
    sizes : dict
        Arguments of the processor.
    special : tuple of str
        Special tokens with the ids 256 and following.
    template : str
        The chat template.
    text : dict
        The configuration of the language model, in addition to TEXT.
    image, types : str
        Names of transformers' arguments with the token of a picture's rows, and with what kind each token is.
    config : dict
        Further arguments of the whole configuration.
    fixed : dict
        Endings of names of tensors with one number -> the number.
    """

    config_class: str
    model_class: str
    processor: str
    vision: Mapping[str, Any]
    sizes: Mapping[str, Any]
    special: tuple[str, ...]
    template: str
    text: Mapping[str, Any] = field(default_factory=dict)
    image: str = "image_token_id"
    types: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, float] = field(default_factory=dict)


QWEN_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for p in m.content %}{% if p.type == 'image' or 'image' in p or 'image_url' in p %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% elif 'text' in p %}{{ p.text }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN_SPECIAL = (
    "<|endoftext|>", "<|im_end|>", "<|pad|>", "<|im_start|>", "<|image_pad|>", "<|vision_start|>", "<|vision_end|>",
)  # fmt: skip
HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}

GEMMA_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m.role }}\n"
    "{% if m.content is string %}{{ m.content | trim }}{% else %}"
    "{% for p in m.content %}{% if p.type == 'image' %}<start_of_image>{% elif p.type == 'text' %}{{ p.text | trim }}"
    "{% endif %}{% endfor %}{% endif %}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
SMOLVLM_TEMPLATE = (
    "<|im_start|>{% for m in messages %}{{ m.role | capitalize }}"
    "{% if m.content is string %}: {{ m.content }}{% else %}"
    "{% if m.content[0].type == 'image' %}:{% else %}: {% endif %}{% for p in m.content %}"
    "{% if p.type == 'text' %}{{ p.text }}{% elif p.type == 'image' %}<image>{% endif %}{% endfor %}{% endif %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
SIGLIP = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32,
    "patch_size": 8, "hidden_act": "gelu_pytorch_tanh",
}  # fmt: skip

TINY = {
    "qwen3vl_merger": TinyVision(
        "Qwen3VLConfig", "Qwen3VLForConditionalGeneration",
        "qwen2_vl.image_processing_pil_qwen2_vl.Qwen2VLImageProcessorPil",
        vision={
            "depth": 3, "hidden_size": 16, "num_heads": 2, "intermediate_size": 32, "out_hidden_size": 32,
            "num_position_embeddings": 16, "patch_size": 8, "deepstack_visual_indexes": [0, 1], "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
        sizes={"patch_size": 8, "merge_size": 2, "size": {"shortest_edge": 1024, "longest_edge": 4096}, **HALF},
        special=QWEN_SPECIAL, template=QWEN_TEMPLATE,
        text={"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2],
                                  "mrope_interleaved": True}},
        types="mm_token_type_ids",
        config={"video_token_id": 270, "vision_start_token_id": 261, "vision_end_token_id": 262},
    ),
    "qwen35": TinyVision(
        "Qwen3_5Config", "Qwen3_5ForConditionalGeneration",
        "qwen2_vl.image_processing_pil_qwen2_vl.Qwen2VLImageProcessorPil",
        vision={
            "depth": 2, "hidden_size": 16, "num_heads": 2, "intermediate_size": 32, "out_hidden_size": 32,
            "num_position_embeddings": 16, "patch_size": 8, "spatial_merge_size": 2, "temporal_patch_size": 2,
        },
        sizes={"patch_size": 8, "merge_size": 2, "size": {"shortest_edge": 1024, "longest_edge": 4096}, **HALF},
        special=QWEN_SPECIAL, template=QWEN_TEMPLATE, types="mm_token_type_ids",
        text={"layer_types": ["linear_attention", "full_attention"] * 2, "num_hidden_layers": 4,
              "linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_key_head_dim": 16,
              "linear_value_head_dim": 16, "head_dim": 32, "full_attention_interval": 2,
              "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1],
                                  "partial_rotary_factor": 0.25}},
        config={"video_token_id": 270, "vision_start_token_id": 261, "vision_end_token_id": 262},
    ),
    "qwen2.5vl_merger": TinyVision(
        "Qwen2_5_VLConfig", "Qwen2_5_VLForConditionalGeneration",
        "qwen2_vl.image_processing_pil_qwen2_vl.Qwen2VLImageProcessorPil",
        vision={
            "depth": 4, "hidden_size": 16, "num_heads": 2, "intermediate_size": 32, "out_hidden_size": 32,
            "patch_size": 8, "window_size": 32, "fullatt_block_indexes": [1, 3], "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
        sizes={"patch_size": 8, "merge_size": 2, "size": {"shortest_edge": 1024, "longest_edge": 4096}, **HALF},
        special=QWEN_SPECIAL, template=QWEN_TEMPLATE, types="mm_token_type_ids",
        text={"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2]}},
        config={"video_token_id": 270, "vision_start_token_id": 261, "vision_end_token_id": 262},
    ),
    "gemma3": TinyVision(
        "Gemma3Config", "Gemma3ForConditionalGeneration", "gemma3.image_processing_pil_gemma3.Gemma3ImageProcessorPil",
        vision={**SIGLIP, "vision_use_head": False}, sizes={"size": {"height": 32, "width": 32}, **HALF},
        special=("<eos>", "<end_of_turn>", "<pad>", "<bos>", "<image_soft_token>", "<start_of_image>", "<end_of_image>",
                 "<start_of_turn>"),
        template=GEMMA_TEMPLATE, image="image_token_index", types="token_type_ids",
        text={"tie_word_embeddings": True, "sliding_window": 16, "query_pre_attn_scalar": 16,
              "num_hidden_layers": 6, "layer_types": [*["sliding_attention"] * 5, "full_attention"]},
        config={"tie_word_embeddings": True, "mm_tokens_per_image": 4, "boi_token_index": 261, "eoi_token_index": 262},
    ),
    "idefics3": TinyVision(
        "SmolVLMConfig", "SmolVLMForConditionalGeneration",
        "smolvlm.image_processing_pil_smolvlm.SmolVLMImageProcessorPil",
        vision=SIGLIP, sizes={"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 32}, **HALF},
        special=("<|im_start|>", "<end_of_utterance>", "<pad>", "<fake_token_around_image>", "<image>", "<global-img>",
                 "<row_1_col_1>", "<row_1_col_2>", "<row_2_col_1>", "<row_2_col_2>"),
        template=SMOLVLM_TEMPLATE, text={"model_type": "llama"}, config={"scale_factor": 2},
    ),
}  # fmt: skip
