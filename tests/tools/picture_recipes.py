"""The tiny vision-language models of which make_picture_cases makes recipes: configurations of transformers."""

from dataclasses import replace

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


CODES = [*"ABCDEFGHIJ", *(f"B{letter}" for letter in "ABCDEF")]
"""The numbers 0 to 15 with letters as digits, as Chameleon's vocabulary has them."""

GEMMA4_TEXT = {
    "tie_word_embeddings": True, "num_hidden_layers": 4, "global_head_dim": 32, "pad_token_id": 0,
    "layer_types": ["sliding_attention", "full_attention"] * 2, "vocab_size_per_layer_input": N_VOCAB,
    "final_logit_softcapping": 30.0,
    "rope_parameters": {
        "full_attention": {"rope_type": "proportional", "rope_theta": 1e6, "partial_rotary_factor": 0.25},
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
    },
}  # fmt: skip
GEMMA4 = TinyVision(
    "Gemma4Config", "Gemma4ForConditionalGeneration", "gemma4.image_processing_pil_gemma4.Gemma4ImageProcessorPil",
    vision={
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 2, "head_dim": 8, "patch_size": 4, "position_embedding_size": 48,
    },
    sizes={"patch_size": 4, "max_soft_tokens": 70, "pooling_kernel_size": 3},
    special=("<eos>", "<turn|>", "<pad>", "<bos>", "<|image|>", "<|image>", "<image|>", "<|turn>"),
    template=template("<|image|>"), types="mm_token_type_ids",
    config={"audio_config": None, "tie_word_embeddings": True, "boi_token_id": 261, "eoi_token_id": 262,
            "video_token_id": 270, "audio_token_id": 271},
)  # fmt: skip

RECIPES = {
    "gemma4v": replace(
        GEMMA4,
        vision={**GEMMA4.vision, "use_clipped_linears": True, "standardize": True},
        text={**GEMMA4_TEXT, "sliding_window": 16, "num_kv_shared_layers": 1, "hidden_size_per_layer_input": 8},
        fixed={"input_min": -2.0, "input_max": 2.5, "output_min": -2.0, "output_max": 2.0},
    ),
    "gemma4v-large": replace(  # as 26B and 31B: the rows of a picture see each other in layers with a window
        GEMMA4,
        text={**GEMMA4_TEXT, "sliding_window": 128, "num_kv_shared_layers": 0, "hidden_size_per_layer_input": 0,
              "use_bidirectional_attention": "vision"},
    ),
    "lfm2": TinyVision(
        "Lfm2VlConfig", "Lfm2VlForConditionalGeneration", "lfm2_vl.image_processing_lfm2_vl.Lfm2VlImageProcessor",
        vision={**SIGLIP, "model_type": "siglip2_vision_model", "num_patches": 16, "vision_use_head": False},
        sizes={"encoder_patch_size": 8, "downsample_factor": 2, "min_image_tokens": 4, "max_image_tokens": 6,
               "tile_size": 32, "min_tiles": 2, "max_tiles": 4, **HALF},
        special=("<|startoftext|>", "<|im_end|>", "<|pad|>", "<|im_start|>", "<image>", "<|image_start|>",
                 "<|image_end|>", "<|img_thumbnail|>", "<|img_row_1_col_1|>", "<|img_row_1_col_2|>",
                 "<|img_row_2_col_1|>"),
        template=template("<image>"),
        text={"model_type": "lfm2", "layer_types": ["conv", "full_attention", "conv"], "conv_L_cache": 3,
              "block_auto_adjust_ff_dim": False, "tie_word_embeddings": True},
        config={"projector_hidden_size": 24, "tie_word_embeddings": True},
    ),
    "pixtral": TinyVision(
        "Mistral3Config", "Mistral3ForConditionalGeneration",
        "pixtral.image_processing_pil_pixtral.PixtralImageProcessorPil",
        vision={"model_type": "pixtral", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
                "num_attention_heads": 2, "image_size": 64, "patch_size": 8, "hidden_act": "silu"},
        sizes={"patch_size": {"height": 16, "width": 16}, "size": {"longest_edge": 64}, **CLIP},
        special=("<s>", "</s>", "<pad>", "[INST]", "[IMG]", "[IMG_BREAK]", "[IMG_END]"),
        template=template("[IMG]"), image="image_token_index", text={"model_type": "mistral", "sliding_window": None},
    ),
    "internvl": TinyVision(
        "InternVLConfig", "InternVLForConditionalGeneration",
        "got_ocr2.image_processing_pil_got_ocr2.GotOcr2ImageProcessorPil",
        vision={"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
                "image_size": [32, 32], "patch_size": [8, 8], "attention_bias": True, "use_qk_norm": True},
        sizes={"size": {"height": 32, "width": 32}, "crop_to_patches": True, "max_patches": 3, **CLIP},
        special=("<|endoftext|>", "<|im_end|>", "<|pad|>", "<|im_start|>", "<IMG_CONTEXT>", "<img>", "</img>"),
        template=template("<IMG_CONTEXT>"), text={"model_type": "qwen2"},
    ),
    "mlp": TinyVision(
        "LlavaConfig", "LlavaForConditionalGeneration", "llava.image_processing_pil_llava.LlavaImageProcessorPil",
        vision={"model_type": "clip_vision_model", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3,
                "num_attention_heads": 2, "image_size": 32, "patch_size": 8, "hidden_act": "quick_gelu"},
        sizes={"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}, "do_pad": True, **CLIP},
        special=("<s>", "</s>", "<pad>", "<unk>", "<image>"), template=template("<image>"),
        image="image_token_index", text={"model_type": "llama"}, config={"vision_feature_layer": -2},
    ),
    "llama4": TinyVision(
        "Llama4Config", "Llama4ForConditionalGeneration", "llama4.image_processing_llama4.Llama4ImageProcessor",
        vision={"hidden_size": 16, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
                "image_size": 32, "patch_size": 8, "vision_output_dim": 24, "projector_input_dim": 24,
                "projector_output_dim": 24},
        sizes={"size": {"height": 32, "width": 32}, "max_patches": 4, **HALF},
        special=("<|begin_of_text|>", "<|eot|>", "<|finetune_right_pad|>", "<|header_start|>", "<|image|>",
                 "<|image_start|>", "<|image_end|>", "<|tile_x_separator|>", "<|tile_y_separator|>"),
        template=template("<|image|>"), image="image_token_index",
        text={"num_local_experts": 2, "num_experts_per_tok": 1, "intermediate_size_mlp": 32, "moe_layers": [1],
              "interleave_moe_layer_step": 2, "num_hidden_layers": 2, "no_rope_layers": [1, 1],
              "attention_chunk_size": 8192, "attn_scale": 0.1, "floor_scale": 8192},
    ),
    "chameleon": TinyVision(
        "ChameleonConfig", "ChameleonForConditionalGeneration",
        "chameleon.image_processing_pil_chameleon.ChameleonImageProcessorPil",
        vision={"resolution": 32, "base_channels": 32, "channel_multiplier": [1, 2, 2], "num_res_blocks": 1,
                "attn_resolutions": [16], "embed_dim": 8, "latent_channels": 8, "num_embeddings": 16},
        sizes={"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}},
        special=("<s>", "</s>", "<pad>", "<unk>", "<image>", "<racm3:break>", "<eoss>", "<reserved08706>",
                 *(f"IMGIMG{name}Z" for name in CODES)),
        template=template("<image>"),
        text={"vocabulary_map": {"<image>": 260, **{f"IMGIMG{name}Z": 264 + i for i, name in enumerate(CODES)}}},
    ),
    "paddleocr": TinyVision(
        "PaddleOCRVLConfig", "PaddleOCRVLForConditionalGeneration",
        "paddleocr_vl.image_processing_pil_paddleocr_vl.PaddleOCRVLImageProcessorPil",
        vision={**SIGLIP}, sizes={"patch_size": 8, "merge_size": 2,
                                  "size": {"shortest_edge": 1024, "longest_edge": 4096}, **HALF},
        special=("<s>", "</s>", "<pad>", "<unk>", "<|IMAGE_PLACEHOLDER|>", "<|IMAGE_START|>", "<|IMAGE_END|>"),
        template=template("<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>"), types="mm_token_type_ids",
        text={"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2]}},
        config={"video_token_id": 270, "vision_start_token_id": 261, "vision_end_token_id": 262},
    ),
}  # fmt: skip
