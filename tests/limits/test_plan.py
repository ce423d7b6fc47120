"""The memory that `realizar plan` predicts, compared with a process that runs the model."""

import json

import pytest

from realizar.arch import hookimpl, registry
from realizar.arch.registry import Registry
from realizar.cli import main
from realizar.graph import OpSpec
from realizar.testing import tiny_metadata, tiny_model
from tests.limits.models import CODER, LLAMA, OTHERS, QWEN2, SMOLLM2, real
from tests.limits.test_costs import measure, needs_proc

Llama = type(registry.default().architecture("llama"))
RUN = """
import json, sys
import psutil, sentencepiece, tokenizers
from realizar import LLM, SamplingParams
import realizar.tokenizer
rss = psutil.Process().memory_info
at_import = rss().rss
n_seqs = int(sys.argv[2])
llm = LLM(sys.argv[1], n_ctx=2048, n_seqs=n_seqs, n_threads=2)
model = llm.engine.model
touched = sum(int(model.file.data(name)[:, ::512].sum()) for name in model.file.tensors)
before = rss().rss
llm.tokenize("Hello")
tokenizer = rss().rss - before
prompts = [[1 + (i * 7 + j) % 200 for i in range(2000)] for j in range(n_seqs)]
llm.generate(prompts, SamplingParams(max_tokens=40, temperature=0.0, ignore_eos=True))
peak = next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([peak - at_import - tokenizer, tokenizer]))
"""


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def planned(path, capsys, *options):
    assert main(["plan", str(path), "--ctx", "2048", "-t", "2", "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)


MODELS = [slow(SMOLLM2, 1), slow(SMOLLM2, 4), slow(CODER, 1), *((path, 1) for path in OTHERS)]


@needs_proc
@pytest.mark.parametrize(("model", "n_seqs"), MODELS)
def test_memory(model, n_seqs, capsys):
    """Planned and measured peak differ by at most 5 %, not counting the imports and the tokenizer."""
    path = real(model)
    estimate = planned(path, capsys, "--seqs", str(n_seqs))
    found, tokenizer = measure(RUN, path, n_seqs)
    print(f"{model}: {found >> 20} MiB, planned {estimate['memory']['peak'] >> 20}; tokenizer {tokenizer >> 20}")
    assert estimate["memory"]["peak"] == pytest.approx(found, rel=0.05)
    assert estimate["tokenizer_bytes"] == pytest.approx(tokenizer, rel=0.3)


@pytest.mark.parametrize("path", [LLAMA, QWEN2])
def test_estimates_are_consistent(path, capsys):
    one, four = planned(path, capsys), planned(path, capsys, "--seqs", "4", "--kv-type", "f32")
    assert sum(one["type_bytes"].values()) == one["memory"]["weights"]
    assert one["memory"]["cache"] == 2048 * one["cache_bytes_per_token"]
    assert four["memory"]["cache"] == 8 * one["memory"]["cache"]
    assert four["cache_bytes_per_token"] == 2 * one["cache_bytes_per_token"]
    for phase in ("prefill", "decode"):
        assert min(one[phase].values()) > 0
    assert one["prefill"]["n_bytes"] < one["decode"]["n_bytes"]


def test_no_weight_is_read(capsys, monkeypatch):
    """Neither norms and biases nor matrices are converted to floats."""
    from realizar.runtime.weights import Tensor

    def refuse(self):
        raise RuntimeError(f"{self.name} was read")

    monkeypatch.setattr(Tensor, "floats", refuse)
    assert planned(QWEN2, capsys)["n_parameters"] > 0


def test_the_table(capsys):
    assert main(["plan", str(LLAMA), "--ctx", "256", "--seqs", "2"]) == 0
    heads = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert heads == ["model", "types", "cache", "memory", "tokenizer", "machine", "prefill", "decode"]


def test_the_graph(capsys, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert main(["plan", str(QWEN2), "--graph"]) == 0
    out = capsys.readouterr().out
    assert "graph decode: " in out
    assert "blk.0.attn_k.weight" in out
    assert "swiglu(" in out.partition("plan decode")[2]
    assert "cache group 0: full, layers 0, 1" in out


def test_the_graphviz_output():
    """The dot source needs no installed graphviz."""
    from realizar.cli.drawing import dot
    from realizar.model import load

    model = load(QWEN2)
    text = dot(model, "decode")
    assert text.count("[label=") == len(model.plan().ops)
    assert "n0 -> n1;" in text
    model.close()


def test_plugin_ops_are_attributed(monkeypatch, tmp_path, capsys):
    """The table and the JSON name the plugin of each op."""
    spec = OpSpec("copy", "y = x", (), lambda inputs, weights, attrs: inputs, define=lambda x, weights, attrs, state: x)

    class Copying(Llama):
        name = "copying"

        def build(self, g, w, hp):
            return g.op("copy", [super().build(g, w, hp)])[0]

    brought = Registry()
    brought.add("bar", type("Plugin", (), {
        "realizar_ops": staticmethod(hookimpl(lambda: [spec], specname="realizar_ops")),
        "realizar_architectures": staticmethod(hookimpl(lambda: [Copying], specname="realizar_architectures")),
    }))  # fmt: skip
    monkeypatch.setattr(registry, "default", lambda: brought)
    with tiny_model(Copying(), tiny_metadata("copying"), "Q8_0", tmp_path):
        (path,) = tmp_path.glob("*.gguf")
        assert planned(path, capsys)["slow_ops"] == {"copy": "bar"}
        assert main(["plan", str(path), "--ctx", "512", "-t", "2"]) == 0
        assert "slow ops  copy (plugin bar), computed in numpy, row by row" in capsys.readouterr().out
