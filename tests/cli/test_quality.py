"""`perplexity`, `compare` and `imatrix` on a committed fixture."""

import json

import pytest

from realizar.gguf.imatrix import read_imatrix
from realizar.quality import perplexity, sample_text
from tests.limits.models import LLAMA

MODEL = str(LLAMA)
SIZES = ("--n-ctx", "40", "--chunks", "2")


@pytest.fixture
def text(tmp_path):
    """The path of a text file with CRLF line ends, which are part of the text."""
    path = tmp_path / "text.txt"
    path.write_bytes(sample_text()[:400].replace("\n", "\r\n").encode())
    return str(path)


def test_perplexity(realizar, text):
    status, out, err = realizar("perplexity", MODEL, text, *SIZES)
    with open(text, newline="") as f:
        want = perplexity(LLAMA, f.read(), n_ctx=40, n_chunks=2)
    assert (status, err) == (0, "")  # no bar in a file
    assert out.splitlines() == [
        f"perplexity  {want.perplexity}",
        f"scored      {want.n_scored} tokens in 2 chunks of 40",
        f"activations {want.activations}",
    ]
    assert json.loads(realizar("perplexity", MODEL, text, *SIZES, "--json")[1]) == {
        "model": MODEL,
        **json.loads(json.dumps(want.summary())),
    }


def test_perplexity_of_standard_input(realizar, text, typed):
    with open(text, "rb") as f:
        typed(f.read())
    assert realizar("perplexity", MODEL, "-", *SIZES)[1] == realizar("perplexity", MODEL, text, *SIZES)[1]


def test_divergence(realizar, text):
    status, out, _ = realizar("perplexity", MODEL, text, *SIZES, "--kl-against", MODEL)
    assert status == 0
    assert "divergence  0.000000 ± 0.000000 nats" in out
    assert "best token  the same in 100.000 ± 0.000 %" in out
    assert "chunk 1" not in out
    found = json.loads(realizar("perplexity", MODEL, text, *SIZES, "--kl-against", MODEL, "--json")[1])
    assert (found["model"], found["reference"], found["worst"]) == (MODEL, MODEL, [])


def test_compare(realizar, text):
    status, out, _ = realizar("compare", MODEL, MODEL, text, *SIZES, "--worst", "2")
    assert status == 0
    assert len([line for line in out.splitlines() if line.startswith("chunk ")]) == 2
    found = json.loads(realizar("compare", MODEL, MODEL, *SIZES, "--json")[1])
    assert len(found["worst"]) == 5
    assert set(found["worst"][0]) >= {"chunk", "index", "divergence", "before", "token", "reference_top", "model_top"}
    assert list(found["percentiles"]) == ["0.1", "1", "5", "10", "50", "90", "95", "99", "99.9"]


def test_imatrix(realizar, text, tmp_path):
    out_path = tmp_path / "out.gguf"
    status, out, _ = realizar("imatrix", MODEL, text, *SIZES, "-o", str(out_path))
    found = read_imatrix(out_path)
    assert status == 0
    assert out == f"{out_path}: {len(found.entries)} weights, 2 chunks of 40 tokens\n"
    assert found.datasets == (text,)
    assert "output.weight" not in found.entries
    realizar("imatrix", MODEL, text, *SIZES, "-o", str(out_path), "--process-output")
    assert "output.weight" in read_imatrix(out_path).entries


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("perplexity", MODEL, "no such file"), 1, "TEXT 'no such file': cannot be read as a text file"),
        (("perplexity", MODEL, MODEL), 1, "cannot be read as a text file"),
        (("perplexity", MODEL, "x", "--n-ctx", "3"), 2, "--n-ctx"),
        (("compare", MODEL), 2, "Missing argument 'B'"),
        (("imatrix", MODEL, "x", "--chunks", "0"), 2, "--chunks"),
    ],
)
def test_errors(realizar, words, status, message):
    found, out, err = realizar(*words)
    assert (found, out) == (status, "")
    assert message in err
