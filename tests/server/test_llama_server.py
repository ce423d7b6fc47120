"""The endpoints of llama-server."""

import json

import pytest

pytest.importorskip("realizar.server.app", reason="needs the extra server")

from realizar import LLM, SamplingParams
from realizar.server.infill import infill_ids
from tests.server.serving import QUESTION, serving, write_model

ROLES = {name: i for i, name in enumerate(("pre", "suf", "mid", "rep", "sep"), 370)}


@pytest.fixture(scope="module")
def coder(tmp_path_factory):
    keys = {f"tokenizer.ggml.fim_{name}_token_id": i for name, i in ROLES.items()}
    return write_model(tmp_path_factory.mktemp("coder") / "coder.gguf", **keys)


@pytest.fixture(scope="module")
def llm(coder):
    with LLM(coder, n_threads=1, n_ctx=512) as found:
        yield found


@pytest.fixture(scope="module")
def editor(coder):
    with serving(coder) as server:
        yield server


def test_tokens_of_a_text_and_back(editor, llm):
    ids = llm.tokenize("How is it, é?")
    body = editor.post("/tokenize", {"content": "How is it, é?"})[1]
    assert body["tokens"] == ids
    assert body["count"] == len(ids)
    pieces = editor.post("/tokenize", {"prompt": "How is it, é?", "with_pieces": True})[1]["tokens"]
    assert [piece["id"] for piece in pieces] == ids
    data = b"".join(p["piece"].encode() if isinstance(p["piece"], str) else bytes(p["piece"]) for p in pieces)
    assert data.decode() == "How is it, é?"
    assert editor.post("/detokenize", {"tokens": ids})[1]["content"] == "How is it, é?"
    assert editor.post("/detokenize", {"tokens": [10**6]})[0] == 400
    assert editor.post("/tokenize", {})[0] == 400


def test_a_conversations_prompt(editor, llm):
    text = editor.post("/apply-template", {"messages": QUESTION})[1]["prompt"]
    assert QUESTION[0]["content"] in text
    assert llm.tokenize(text, add_special=False, parse_special=True) == llm.chat_prompt(QUESTION).ids


def test_properties_hold_no_path(editor, llm, coder):
    response = editor.http.get("/props")
    body = response.json()
    assert body["default_generation_settings"]["n_ctx"] == 512
    assert body["total_slots"] == 4
    assert body["chat_template"] == llm.tokenizer.chat_template.source
    assert str(coder.parent) not in response.text


def test_an_infill_is_that_of_the_library(editor, llm):
    want = llm.infill("def f(", "return", SamplingParams(temperature=0, max_tokens=6))
    asked = {"input_prefix": "def f(", "input_suffix": "return", "n_predict": 6, "temperature": 0}
    body = editor.post("/infill", {**asked, "return_tokens": True, "n_probs": 2})[1]
    assert (body["content"], body["tokens"]) == (want.text, want.token_ids)
    assert body["stop_type"] in ("limit", "eos")
    assert body["tokens_evaluated"] == want.timings.n_prompt
    assert [row["id"] for row in body["completion_probabilities"]] == want.token_ids
    with editor.http.stream("POST", "/infill", json={**asked, "stream": True}) as response:
        events = [json.loads(line[6:]) for line in response.iter_lines() if line]
    assert "".join(event["content"] for event in events) == want.text
    assert [event["stop"] for event in events] == [False] * (len(events) - 1) + [True]


def test_what_editors_ask_for(editor):
    """The options of llama.vim."""
    body = {
        "id_slot": 0, "input_prefix": "a = [", "input_suffix": "]\n", "input_extra": [], "prompt": "1, ",
        "n_predict": 8, "stop": [], "n_indent": 0, "top_k": 40, "top_p": 0.9, "stream": False,
        "samplers": ["top_k", "top_p", "infill"], "cache_prompt": True, "t_max_prompt_ms": 500,
        "response_fields": ["content", "timings/prompt_n", "truncated", "unknown/field"],
    }  # fmt: skip
    status, answer = editor.post("/infill", body)
    assert status == 200
    assert set(answer) == {"content", "prompt_n", "truncated"}


def test_parts_of_other_files_come_first(llm):
    def text(ids):
        return llm.detokenize([i for i in ids if i not in ROLES.values()])

    ids = infill_ids(llm, "x = ", "\ny", "1", [("a.py", "first"), ("b.py", "second")], 100)
    assert [i for i in ids if i in ROLES.values()] == [373, 374, 374, 374, 370, 371, 372]
    assert text(ids) == "myproject\na.py\nfirst\nb.py\nsecond\nfilename\nx = \ny1"
    long = infill_ids(llm, "x = ", "\ny", "1", [("a.py", "first " * 300), ("b.py", "second")], 100)
    assert text(long) == "myproject\nb.py\nsecond\nfilename\nx = \ny1"
    assert llm.tokenizer.infill("x = ", "\ny") == infill_ids(llm, "x = ", "\ny", "", [], 100)


@pytest.mark.parametrize(("n_before", "n_after"), [(5000, 0), (0, 5000), (5000, 5000), (3, 5000), (5000, 3)])
def test_long_texts_are_cut_at_the_gap_s_far_ends(llm, n_before, n_after):
    before, after = "".join(map(str, range(n_before))), "".join(map(str, range(n_after)))
    ids = infill_ids(llm, before, after, "", [("a.py", "first")], 100)
    assert len(ids) + 100 <= 512
    kept_before, kept_after = ids[ids.index(370) + 1 : ids.index(371)], ids[ids.index(371) + 1 : -1]
    assert before.endswith(llm.detokenize(kept_before))
    assert after.startswith(llm.detokenize(kept_after))
    assert len(kept_before) + len(kept_after) >= 400 or n_before + n_after < 400


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/chat/completions", {"messages": [{"role": "user", "content": "a"}], "max_tokens": 4, "temperature": 0}),
        ("/models", None),
    ],
)
def test_paths_without_v1(server, path, body):
    method = "GET" if body is None else "POST"
    short, long = (server.http.request(method, f"{prefix}{path}", json=body) for prefix in ("", "/v1"))
    assert (short.status_code, long.status_code) == (200, 200)
    name = "data" if body is None else "choices"
    assert short.json()[name] == long.json()[name]


def test_what_lm_eval_needs_to_know_of_a_tokenizer(server):
    info = server.http.get("/tokenizer_info").json()
    assert info["chat_template"] == server.http.get("/props").json()["chat_template"]
    (end,) = server.post("/tokenize", {"content": info["eos_token"]})[1]["tokens"]
    assert end == server.engine.model.tokenizer.eos_id


def test_a_model_without_the_tokens(server):
    status, body = server.post("/infill", {"input_prefix": "a"})
    assert status == 400
    assert "fill-in-the-middle" in body["error"]["message"]
