"""summarize: the contents of a file as JSON-serializable data."""

import json

from realizar.gguf import GGUFFile, GGUFWriter, summarize
from tests.gguf.conftest import SHAPES


def test_summary(model):
    path, data = model
    with GGUFFile(path) as file:
        summary = summarize(file)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["path"] == str(path)
    assert summary["architecture"] == "llama"
    assert summary["n_bytes"] == path.stat().st_size
    assert summary["n_weights"] == 3 * 256 + 5 + 2 * 3 * 64 + 7
    assert summary["tensor_bytes"] == sum(x.nbytes for x in data.values())
    assert summary["bits_per_weight"] == 8 * summary["tensor_bytes"] / summary["n_weights"]
    assert list(summary["types"]) == ["Q4_K", "Q8_0", "F32", "F16"]
    assert summary["types"]["Q4_K"] == {
        "n_tensors": 1,
        "n_weights": 768,
        "n_bytes": 432,
        "bits_per_weight": 4.5,
    }
    assert [(t["name"], tuple(t["shape"])) for t in summary["tensors"]] == list(SHAPES.items())
    metadata = summary["metadata"]
    assert metadata["u16"] == {"type": "UINT16", "value": 60000}
    assert metadata["scores"]["first"] == [0.0, -1.5, "inf"]
    assert metadata["flags"]["first"] == [True, False]


def test_long_arrays_are_truncated(tmp_path):
    writer = GGUFWriter(tmp_path / "x.gguf")
    writer.add("tokens", [str(i) for i in range(1000)])
    writer.write()
    with GGUFFile(writer.path) as file:
        summary = summarize(file)
    assert summary["metadata"]["tokens"] == {
        "type": "ARRAY",
        "element": "STRING",
        "n": 1000,
        "first": [str(i) for i in range(8)],
    }
    assert summary["architecture"] is None
    assert summary["bits_per_weight"] is None
    assert summary["types"] == {}
