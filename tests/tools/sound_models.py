"""Tiny random models that hear, made by transformers, and what it computes of sounds: for tests/peers and fixtures."""

import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers
from safetensors.torch import save_file

from realizar.convert import convert
from tests.pictures.checkpoint import write_tokenizer

N_VOCAB = 288
AUDIO = 260
"""The token that stands for a row of a sound in transformers' input."""
N_POSITION = 100
"""Learned positions, so that a run is 2 s, not 30 s."""
N_SAMPLES = 2 * N_POSITION * 160
SPECIAL = ("<|endoftext|>", "<|im_end|>", "<|pad|>", "<|im_start|>", "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>")
QWEN_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for p in m.content %}{% if p.type == 'audio' or 'audio' in p or 'audio_url' in p %}"
    "<|audio_bos|><|AUDIO|><|audio_eos|>{% elif 'text' in p %}{{ p.text }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXT = {
    "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": N_VOCAB,
    "num_key_value_heads": 1, "max_position_embeddings": 512, "bos_token_id": 256, "eos_token_id": 257,
    "pad_token_id": 258, "tie_word_embeddings": False,
}  # fmt: skip
WHISPER = {
    "d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 64,
    "max_source_positions": N_POSITION, "num_mel_bins": 80,
}  # fmt: skip
STACK = 4
MID = 48


class Heard(NamedTuple):
    """What transformers computes of several sounds: features [n_mel, n], rows, and the logits of the prompt."""

    features: list[np.ndarray]
    rows: list[np.ndarray]
    logits: np.ndarray
    tokens: list[int]


def fill(model: torch.nn.Module, seed: int) -> None:
    """Set all weights to float16 numbers, so that every tensor matters, and results are right for F16 files, too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim >= 2:
                rms = 0.5 if "embed" in name else 1.2 * parameter[0].numel() ** -0.5
                parameter.copy_((noise * rms).half().float())
            else:
                parameter.copy_((parameter + 0.2 * noise).half().float())


def prompt(counts: list[int]) -> list[int]:
    """Return tokens with a sound at the beginning and one between words; each row is AUDIO."""
    one, two = ([AUDIO] * n for n in counts)
    return [256, 84, 104, *one, 101, 121, 32, *two, *b"What is this?"]


class Tiny:
    """A model of transformers, which hears.

    Parameters
    ----------
    n_mel : int
    n_embd, n_position : int
        Of the encoder: its width, and its learned positions, which are whole seconds at 50 of them.
    n_text : int
        Width of the language model.
    """

    def __init__(self, n_mel: int = 80, n_embd: int = 16, n_position: int = N_POSITION, n_text: int = 32) -> None:
        self.whisper = {**WHISPER, "num_mel_bins": n_mel, "d_model": n_embd, "max_source_positions": n_position}
        self.text = {**TEXT, "hidden_size": n_text, "intermediate_size": n_text}
        self.features = transformers.WhisperFeatureExtractor(feature_size=n_mel, chunk_length=n_position // 50)
        self.model = self.made().float().eval()
        fill(self.model, seed=3)

    def made(self) -> torch.nn.Module:
        """Return the model."""
        raise NotImplementedError

    def write(self, folder: Path, type_name: str = "F32") -> tuple[Path, Path]:
        """Write the checkpoint, and the files of the language model and of the encoder."""
        self.model.save_pretrained(folder)
        write_tokenizer(folder, list(SPECIAL), QWEN_TEMPLATE)
        files = folder / f"tiny-{type_name}.gguf", folder / f"mmproj-tiny-{type_name}.gguf"
        convert(folder, files[0], type_name)
        convert(folder, files[1], type_name, mmproj=True)
        return files

    def heard(self, sounds: list[np.ndarray]) -> Heard:
        """Return what the model computes of two sounds."""
        with torch.no_grad():
            each = [self.rows(sound) for sound in sounds]
            tokens = prompt([len(rows) for _, rows in each])
            embeds = self.model.get_input_embeddings()(torch.tensor(tokens))
            embeds[torch.tensor(tokens) == AUDIO] = torch.cat([rows for _, rows in each])
            logits = self.model(inputs_embeds=embeds[None], **self.text_inputs(len(tokens))).logits[0]
        return Heard([f for f, _ in each], [rows.numpy() for _, rows in each], logits.numpy(), tokens)

    def text_inputs(self, n: int) -> dict[str, Any]:
        """Further arguments of the language model."""
        return {}

    def rows(self, sound: np.ndarray) -> tuple[np.ndarray, torch.Tensor]:
        """Return the features and the rows of a sound."""
        raise NotImplementedError


class Qwen2Audio(Tiny):
    """Qwen2-Audio."""

    def made(self) -> torch.nn.Module:
        text = {**self.text, "model_type": "qwen2"}
        audio = {**self.whisper, "model_type": "qwen2_audio_encoder"}
        config = transformers.Qwen2AudioConfig(audio_config=audio, text_config=text, audio_token_index=AUDIO)
        return transformers.Qwen2AudioForConditionalGeneration._from_config(config, attn_implementation="eager")

    def rows(self, sound: np.ndarray) -> tuple[np.ndarray, torch.Tensor]:
        given = self.features(sound, sampling_rate=16000, return_attention_mask=True, return_tensors="pt")
        n = (int(given.attention_mask.sum()) - 1) // 2 + 1
        tower = (getattr(self.model, "model", self.model)).audio_tower
        projector = (getattr(self.model, "model", self.model)).multi_modal_projector
        mask = torch.zeros(1, 1, 1, self.whisper["max_source_positions"])
        mask[..., n:] = -torch.inf
        states = tower(given.input_features, attention_mask=mask).last_hidden_state
        return given.input_features[0].numpy(), projector(states)[0, : n // 2]


class Voxtral(Tiny):
    """Voxtral."""

    def made(self) -> torch.nn.Module:
        names = {
            "d_model": "hidden_size", "encoder_layers": "num_hidden_layers", "encoder_ffn_dim": "intermediate_size",
            "encoder_attention_heads": "num_attention_heads",
        }  # fmt: skip
        audio = {names.get(key, key): value for key, value in self.whisper.items()}
        config = transformers.VoxtralConfig(
            audio_config={**audio, "model_type": "voxtral_encoder"}, audio_token_id=AUDIO,
            text_config={**self.text, "model_type": "llama", "head_dim": 16, "rms_norm_eps": 1e-5},
        )  # fmt: skip
        return transformers.VoxtralForConditionalGeneration._from_config(config, attn_implementation="eager")

    def rows(self, sound: np.ndarray) -> tuple[np.ndarray, torch.Tensor]:
        given = self.features(
            sound, sampling_rate=16000, padding=True, truncation=False, pad_to_multiple_of=N_SAMPLES,
            return_tensors="pt",
        )  # fmt: skip
        features = given.input_features
        runs = features.reshape(features.shape[1], -1, 2 * N_POSITION).transpose(0, 1)
        return features[0].numpy(), self.model.get_audio_features(runs).pooler_output


class Omni(Tiny):
    """The thinker of Qwen 2.5 Omni."""

    def made(self) -> torch.nn.Module:
        rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2]}
        vision = {"depth": 1, "hidden_size": 16, "num_heads": 2, "intermediate_size": 32, "out_hidden_size": 32,
                  "patch_size": 8, "fullatt_block_indexes": [0]}  # fmt: skip
        config = transformers.models.qwen2_5_omni.Qwen2_5OmniThinkerConfig(
            audio_config={**self.whisper, "n_window": 30, "output_dim": 32}, vision_config=vision,
            text_config={**self.text, "rope_parameters": rope, "rope_scaling": rope}, audio_token_index=AUDIO,
        )  # fmt: skip
        kind = transformers.Qwen2_5OmniThinkerForConditionalGeneration
        return kind._from_config(config, attn_implementation="eager")

    def text_inputs(self, n: int) -> dict[str, Any]:
        return {"position_ids": torch.arange(n).expand(3, 1, n)}

    def rows(self, sound: np.ndarray) -> tuple[np.ndarray, torch.Tensor]:
        fe = transformers.WhisperFeatureExtractor(feature_size=self.whisper["num_mel_bins"], chunk_length=30)
        given = fe(sound, sampling_rate=16000, return_attention_mask=True, return_tensors="pt")
        found = self.model.get_audio_features(given.input_features, feature_attention_mask=given.attention_mask)
        n = int(given.attention_mask.sum())
        return given.input_features[0, :, :n].numpy(), found.pooler_output


class Ultravox(Tiny):
    """Ultravox 0.5, whose code is not in transformers: Whisper's layers of transformers, and its own projector."""

    def made(self) -> torch.nn.Module:
        config = transformers.LlamaConfig(**self.text, head_dim=16)
        self.encoder = transformers.WhisperModel._from_config(
            transformers.WhisperConfig(**self.whisper, decoder_layers=1, decoder_ffn_dim=16, decoder_attention_heads=2),
            attn_implementation="eager",
        ).encoder.eval()  # fmt: skip
        n = self.whisper["d_model"] * STACK
        self.projector = torch.nn.ModuleDict(
            {
                "ln_pre": torch.nn.RMSNorm(n, eps=1e-6), "linear_1": torch.nn.Linear(n, 2 * MID, bias=False),
                "ln_mid": torch.nn.RMSNorm(MID, eps=1e-6), "linear_2": torch.nn.Linear(MID, 32, bias=False),
            }
        )  # fmt: skip
        for part in (self.encoder, self.projector):
            fill(part, seed=4)
        return transformers.LlamaForCausalLM._from_config(config, attn_implementation="eager")

    def write(self, folder: Path, type_name: str = "F32") -> tuple[Path, Path]:
        self.model.save_pretrained(folder / "text")
        write_tokenizer(folder / "text", list(SPECIAL), QWEN_TEMPLATE)
        tensors = {f"audio_tower.{name}": value for name, value in self.encoder.state_dict().items()}
        tensors |= {f"multi_modal_projector.{name}": value for name, value in self.projector.state_dict().items()}
        save_file({name: value.contiguous() for name, value in tensors.items()}, folder / "model.safetensors")
        config = {
            "architectures": ["UltravoxModel"], "model_type": "ultravox", "stack_factor": STACK, "hidden_size": 2 * MID,
            "projector_act": "swiglu", "projector_ln_mid": True,
            "audio_config": {**self.whisper, "activation_function": "gelu", "model_type": "whisper"},
        }  # fmt: skip
        (folder / "config.json").write_text(json.dumps(config))
        files = folder / f"tiny-{type_name}.gguf", folder / f"mmproj-tiny-{type_name}.gguf"
        convert(folder / "text", files[0], type_name)
        convert(folder, files[1], type_name, mmproj=True)
        return files

    def rows(self, sound: np.ndarray) -> tuple[np.ndarray, torch.Tensor]:
        given = self.features(
            sound, sampling_rate=16000, padding="longest", truncation=False, pad_to_multiple_of=160, return_tensors="pt"
        )
        features = given.input_features
        runs = features.split(2 * N_POSITION, dim=2)
        return features[0].numpy(), torch.cat([self.projected(self.encoded(run))[0] for run in runs])

    def encoded(self, features: torch.Tensor) -> torch.Tensor:
        """Whisper's encoder for any length up to a run."""
        gelu, encoder = torch.nn.functional.gelu, self.encoder
        x = gelu(encoder.conv2(gelu(encoder.conv1(features)))).transpose(1, 2)
        x = x + encoder.embed_positions.weight[: x.shape[1]]
        for layer in encoder.layers:
            x = layer(x, None)
            x = x[0] if isinstance(x, tuple) else x
        return encoder.layer_norm(x)

    def projected(self, x: torch.Tensor) -> torch.Tensor:
        """Ultravox' projector: `UltravoxProjector` in its ultravox_model.py."""
        n = x.shape[1]
        stacked = torch.nn.functional.pad(x, (0, 0, 0, -n % STACK)).reshape(1, -1, x.shape[2] * STACK)
        up, gate = self.projector["linear_1"](self.projector["ln_pre"](stacked)).chunk(2, dim=-1)
        return self.projector["linear_2"](self.projector["ln_mid"](torch.nn.functional.silu(gate) * up))


TINY = {"qwen2a": Qwen2Audio, "voxtral": Voxtral, "qwen2.5o": Omni, "ultravox": Ultravox}


def write_fixture(folder: Path) -> None:
    """Write the case of tests/fixtures/sound: a smaller Qwen2-Audio, with float16 weights, and what it computes.

    pip install -e '.[peers,audio]' && python -m tests.tools.sound_models
    """
    from tests.sound.cases import SOUNDS, STRIDE

    with tempfile.TemporaryDirectory() as parent:
        tiny = Qwen2Audio(n_embd=8, n_position=50, n_text=16)
        files = tiny.write(Path(parent), "F16")
        for file, name in zip(files, ("tiny-F16.gguf", "mmproj-tiny-F16.gguf"), strict=True):
            (folder / name).write_bytes(file.read_bytes())
    found = tiny.heard(SOUNDS)
    np.savez_compressed(
        folder / "golden.npz", tokens=np.array(found.tokens, np.int32), logits=found.logits[-4:],
        features=found.features[0].T[::STRIDE], rows_0=found.rows[0], rows_1=found.rows[1],
    )  # fmt: skip
    print({file.name: file.stat().st_size for file in folder.iterdir()})


if __name__ == "__main__":
    write_fixture(Path(__file__).parents[1] / "fixtures" / "sound")
