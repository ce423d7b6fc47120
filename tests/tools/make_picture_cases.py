"""Makes the cases of tests/fixtures/pictures: tiny random vision-language models, and what transformers computes.

pip install -e '.[peers,vision]' && python -m tests.tools.make_picture_cases NAME...   (names in picture_models.py and
picture_recipes.py)

All weights are float16 numbers, so transformers' float32 results are right for the F16 files, too.
"""

import argparse
import importlib
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from safetensors import safe_open
from transformers.image_processing_backends import TorchvisionBackend

from realizar.convert import convert
from tests.pictures.checkpoint import N_VOCAB, Recipe, write_checkpoint, write_tokenizer
from tests.pictures.painted import painted
from tests.tools.picture_models import IMAGE, TEXT, TINY, TinyVision
from tests.tools.picture_recipes import RECIPES

TARGET = Path(__file__).parents[1] / "fixtures" / "pictures"
SIZES = ((75, 50), (40, 64))
"""Heights and widths of the two pictures."""
QUESTION = "What is this, and that?"
STRIDE = 17
"""Every 17th pixel value is kept."""
ROW_STEP = 3
"""Every third row is kept of recipes."""
LAST = 12
"""Positions at the end of the prompt of which logits are kept."""


def fill(model: torch.nn.Module, seed: int) -> None:
    """Set all weights to float16 numbers, so that every tensor matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim >= 2:
                rms = 0.5 if "embed" in name and "patch" not in name else 1.2 * parameter[0].numel() ** -0.5
                parameter.copy_((noise * rms).half().float())
            else:
                parameter.copy_((parameter + 0.2 * noise).half().float())


def class_of(path: str) -> type:
    """Return a class of transformers by its module and name below transformers.models."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(f"transformers.models.{module}"), name)


def prompt(counts: list[int]) -> list[int]:
    """Return tokens with a picture at the beginning and one between words; each row of a picture is IMAGE."""
    one, two = ([IMAGE] * n for n in counts)
    return [256, 84, 104, *one, 101, 121, 32, *two, *QUESTION.encode()]


def golden(
    model: torch.nn.Module, tiny: TinyVision, processor: Any, last: int = LAST, step: int = 1
) -> dict[str, np.ndarray]:
    """Return what transformers computes of two pictures: every `step`-th row, and the `last` logits."""
    pictures = [painted(*size, seed=i) for i, size in enumerate(SIZES)]
    arrays: dict[str, np.ndarray] = {}
    pixels, deepstack, counts = [], [], []
    with torch.no_grad():
        for i, picture in enumerate(pictures):
            made = processed(processor, [picture])
            pixels.append(made["pixel_values"].numpy().astype(np.float32).reshape(-1))
            found = getattr(model, "model", model).get_image_features(**made, return_dict=True)
            rows = found.pooler_output
            if rows is None:  # Llama 4 projects them later
                rows = model.multi_modal_projector(found.last_hidden_state)
            rows = torch.cat(list(rows)) if isinstance(rows, (list, tuple)) else rows
            rows = rows.reshape(-1, rows.shape[-1]).numpy()
            counts.append(len(rows))
            if hasattr(model, "get_image_tokens"):
                arrays[f"codes_{i}"] = model.get_image_tokens(made["pixel_values"]).numpy().reshape(-1).astype(np.int32)
            arrays[f"rows_{i}"] = rows[::step]
            layers = getattr(found, "deepstack_features", None) or ()
            deepstack.append([torch.cat(layer) if isinstance(layer, tuple) else layer for layer in layers])
        if deepstack[0]:
            arrays["deepstack"] = torch.cat([torch.cat(own, dim=1) for own in deepstack]).numpy()
        tokens = prompt(counts)
        given = {"input_ids": torch.tensor([tokens]), **processed(processor, pictures)}
        if tiny.types:
            given[tiny.types] = (given["input_ids"] == IMAGE).int()
        if hasattr(model, "model"):
            logits = model(**given).logits[0, -last:]
        else:  # Llama 4, whose forward of the whole fails in transformers 5.24
            logits = logits_of_llama4(model, given)[0, -last:]
    return {
        **arrays,
        "tokens": np.array(tokens, np.int32),
        "logits": logits.numpy(),
        "pixels": np.concatenate(pixels)[::STRIDE],
    }


def logits_of_llama4(model: Any, given: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the logits of tokens with the rows of pictures in place of IMAGE."""
    tokens = given["input_ids"]
    rows = model.multi_modal_projector(model.get_image_features(given["pixel_values"]).last_hidden_state)
    embeddings = model.get_input_embeddings()(tokens)
    embeddings[tokens == IMAGE] = rows.reshape(-1, rows.shape[-1])
    return model.language_model(inputs_embeds=embeddings).logits


def resized_by_pillow(self: Any, image: torch.Tensor, size: Any, resample: int, **how: Any) -> torch.Tensor:
    """In place of torchvision's filters, which differ from Pillow's by one of 255 in some pixels."""
    kind = Image.Resampling(resample)
    arrays = [np.asarray(Image.fromarray(one).resize((size.width, size.height), kind)) for one in colors_last(image)]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)


def colors_last(images: torch.Tensor) -> np.ndarray:
    """Pictures as Pillow has them, uint8 [n, height, width, 3]."""
    return np.ascontiguousarray(images.reshape(-1, *images.shape[-3:]).permute(0, 2, 3, 1).numpy())


def processed(processor: Any, pictures: list[np.ndarray]) -> dict[str, torch.Tensor]:
    """Return the arguments of the model that a processor makes of pictures."""
    made = processor(images=pictures, return_tensors="pt")
    made = {name: value for name, value in made.items() if not name.startswith("num_")}
    return {name: value.float() if value.is_floating_point() else value for name, value in made.items()}


def configuration(tiny: TinyVision) -> Any:
    """Return the configuration of a model."""
    if tiny.config_class == "ChameleonConfig":  # which has no configuration of its own for the language model
        return transformers.ChameleonConfig(**{**TEXT, **tiny.text}, vq_config=dict(tiny.vision))
    options = {"tie_word_embeddings": False, tiny.image: IMAGE, **tiny.config}
    return getattr(transformers, tiny.config_class)(
        text_config={**TEXT, **tiny.text}, vision_config=dict(tiny.vision), **options
    )


def make(name: str, seed: int = 0) -> None:
    """Make one case with its files, in TARGET/NAME."""
    tiny = TINY[name]
    kind = getattr(transformers, tiny.model_class)
    model = kind._from_config(configuration(tiny), attn_implementation="eager").float().eval()
    fill(model, seed)
    processor = class_of(tiny.processor)(**tiny.sizes)
    folder = TARGET / name
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as parent:
        checkpoint = Path(parent, name)
        model.save_pretrained(checkpoint)
        processor.save_pretrained(checkpoint)
        write_tokenizer(checkpoint, list(tiny.special), tiny.template)
        convert(checkpoint, folder / "tiny-F16.gguf", "F16")
        convert(checkpoint, folder / "mmproj-tiny-F16.gguf", "F16", mmproj=True)
    arrays = golden(model, tiny, processor)
    np.savez_compressed(folder / "golden.npz", **arrays)
    report(folder, arrays)


def make_recipe(name: str) -> None:
    """Make one case of which only a recipe is stored, in TARGET/NAME."""
    tiny = RECIPES[name]
    kind = getattr(transformers, tiny.model_class)
    processor = class_of(tiny.processor)(**tiny.sizes)
    with tempfile.TemporaryDirectory() as parent:
        kind._from_config(configuration(tiny)).float().save_pretrained(parent)
        config = json.loads(Path(parent, "config.json").read_text())
        with safe_open(Path(parent, "model.safetensors"), "pt") as file:
            tensors = {key: described(key, file.get_tensor(key), tiny) for key in file.keys()}  # noqa: SIM118
        recipe = Recipe(config, json.loads(processor.to_json_string()), tensors, list(tiny.special), tiny.template)
        write_checkpoint(Path(parent), recipe)
        model = kind.from_pretrained(parent, attn_implementation="eager", dtype=torch.float32).eval()
    arrays = golden(model, tiny, processor, last=2, step=ROW_STEP)
    folder = TARGET / name
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "golden.npz", recipe=recipe.as_array(), **arrays)
    report(folder, arrays)


def described(name: str, tensor: torch.Tensor, tiny: TinyVision) -> tuple[list[int], float]:
    """Return the shape of a tensor and, for vectors and numbers, the value to which noise is added."""
    fixed = next((value for ending, value in tiny.fixed.items() if name.endswith(ending)), None)
    mean = float(tensor.float().mean()) if fixed is None else fixed
    return list(tensor.shape), round(mean, 1) if tensor.ndim < 2 else 0.0


def report(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    """Print the size of a case."""
    size = sum(file.stat().st_size for file in folder.iterdir())
    n, deviation = len(arrays["tokens"]), arrays["rows_0"].std()
    print(f"{folder.name}: {size} bytes, {n} tokens of {N_VOCAB}, rows std {deviation:.2f}")


if __name__ == "__main__":
    TorchvisionBackend.resize = resized_by_pillow
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=[*TINY, *RECIPES])
    for each in parser.parse_args().names:
        make_recipe(each) if each in RECIPES else make(each)
