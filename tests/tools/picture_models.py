"""The tiny vision-language models of which make_picture_cases makes cases: configurations of transformers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

N_VOCAB = 288
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
    config : dict
        Further arguments of the whole configuration.
    """

    config_class: str
    model_class: str
    processor: str
    vision: Mapping[str, Any]
    sizes: Mapping[str, Any]
    special: tuple[str, ...]
    template: str
    text: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)


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
        config={"video_token_id": 270, "vision_start_token_id": 261, "vision_end_token_id": 262},
    ),
}  # fmt: skip
