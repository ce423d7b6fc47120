"""Copies a few parity files and their golden arrays into tests/fixtures/parity (under 5 MB)."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np

CASES = {"llama": ["q4_1", "q5_0"], "llama3_rope": ["q8_0"], "phi": ["q4_k_m"], "qwen2": ["q4_k_m"]}
TARGET = Path(__file__).parents[1] / "fixtures" / "parity"


def main(source: Path) -> None:
    """Copy from a folder with the layout of the parity set."""
    for case, types in CASES.items():
        folder = TARGET / case
        folder.mkdir(parents=True, exist_ok=True)
        golden = np.load(source / case / "golden.npz")
        wanted = {"tokens", "hf_logits", "hf_greedy", "hf_greedy_margin"}
        for name in types:
            shutil.copyfile(source / case / f"model-{name}.gguf", folder / f"model-{name}.gguf")
            wanted |= {f"logits_{name}", f"logits_{name}_exact", f"greedy_{name}_exact", f"greedy_margin_{name}_exact"}
        np.savez_compressed(folder / "golden.npz", **{key: golden[key] for key in golden if key in wanted})
        meta = json.loads((source / case / "meta.json").read_text())
        kept = {
            "tokenization": meta["tokenization"],
            "files": {f"model-{n}.gguf": meta["files"][f"model-{n}.gguf"] for n in types},
        }
        (folder / "meta.json").write_text(json.dumps(kept, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
