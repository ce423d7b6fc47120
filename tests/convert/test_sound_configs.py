"""config.json of published models that hear: keys that are missing, and models inside others."""

import json
import struct

from realizar.arch import registry
from realizar.convert.checkpoint_folder import CheckpointFolder
from realizar.convert.metadata import architecture_of, metadata
from realizar.convert.projectors import projector_keys, projectors_of

AUDIO = {
    "num_mel_bins": 128, "encoder_layers": 32, "encoder_attention_heads": 20, "encoder_ffn_dim": 5120, "d_model": 1280,
    "activation_function": "gelu", "n_window": 100,
}  # fmt: skip


def folder_of(path, config):
    (path / "config.json").write_text(json.dumps(config))
    tensors = {"thinker.audio_tower.conv1.weight": {"dtype": "F32", "shape": [4, 3], "data_offsets": [0, 48]}}
    header = json.dumps(tensors).encode()
    (path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(48))
    return CheckpointFolder(path)


def test_qwen2_audio_lacks_the_sizes_of_its_text_model(tmp_path):
    text = {"model_type": "qwen2", "intermediate_size": 11008, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5,
            "vocab_size": 156032}  # fmt: skip
    config = {"architectures": ["Qwen2AudioForConditionalGeneration"], "audio_config": AUDIO, "text_config": text}
    folder = folder_of(tmp_path, config)
    architecture = architecture_of(folder.config, registry.default())
    keys = metadata(architecture, folder.config, "tiny", "F16")
    assert architecture.name == "qwen2"
    names = ("embedding_length", "block_count", "attention.head_count", "attention.head_count_kv", "vocab_size")
    assert [keys[f"qwen2.{name}"] for name in names] == [4096, 32, 32, 32, 156032]


def test_qwen_2_5_omni_is_the_thinker(tmp_path):
    rope = {"rope_type": "default", "mrope_section": [16, 24, 24]}
    text = {"hidden_size": 2048, "num_hidden_layers": 36, "num_attention_heads": 16, "num_key_value_heads": 2,
            "intermediate_size": 11008, "max_position_embeddings": 32768, "vocab_size": 151936, "rms_norm_eps": 1e-6,
            "rope_scaling": rope}  # fmt: skip
    thinker = {"architectures": ["Qwen2OmniNaViTThinker"], "audio_config": AUDIO, "text_config": text}
    config = {"architectures": ["Qwen2_5OmniModel"], "talker_config": {"hidden_size": 7}, "thinker_config": thinker}
    folder = folder_of(tmp_path, config)
    keys = metadata(architecture_of(folder.config, registry.default()), folder.config, "tiny", "F16")
    assert keys["qwen2vl.embedding_length"] == 2048
    assert keys["qwen2vl.rope.dimension_sections"] == [16, 24, 24, 0]
    (projector,) = projectors_of(folder.config, registry.default())
    keys = projector_keys((projector,), folder, "tiny", "F16")
    assert (keys["clip.projector_type"], keys["clip.has_audio_encoder"]) == ("qwen2.5o", True)
    assert keys["clip.audio.chunk_size"] == 200
    folder.detect_prefix("audio_tower.conv1")
    assert folder.shape("audio_tower.conv1") == (4, 3)
