"""realizar.compat.Llama on a tiny random model: results as llama-cpp-python's, and errors for what it has not."""

import itertools
import json
import pickle

import numpy as np
import pytest

import realizar
from realizar.compat import (
    Llama,
    LlamaGrammar,
    LlamaPromptLookupDecoding,
    LogitsProcessorList,
    StoppingCriteriaList,
)
from realizar.compat.llama_options import gpu_layers
from realizar.errors import GGUFError, GrammarError, ModelNotFoundError, ParameterError, UnsupportedError
from tests.server.serving import SCHEMA, TOOLS, write_model

QUESTION = [{"role": "user", "content": "How is the weather in Rome?"}]
GREEDY = {"temperature": 0.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return str(write_model(tmp_path_factory.mktemp("compat") / "tiny.gguf"))


@pytest.fixture(scope="module")
def llama(path):
    found = Llama(path, n_threads=1, seed=3, n_gpu_layers=-1, verbose=False, logits_all=True, embedding=True)
    yield found
    found.close()


@pytest.fixture(scope="module")
def llm(path):
    with realizar.LLM(path, n_threads=1, n_ctx=512) as llm:
        yield llm


def joined(chunks):
    return "".join(chunk["choices"][0]["text"] for chunk in chunks)


def test_completion_is_that_of_the_engine(llama, llm, path):
    params = realizar.SamplingParams(temperature=0.0, max_tokens=8)
    want = llm.generate("A text.", params)[0]
    found = llama("A text.", max_tokens=8, temperature=0.0)
    assert found["choices"] == [
        {
            "text": want.text,
            "index": 0,
            "logprobs": None,
            "finish_reason": "length" if len(want.token_ids) == 8 else "stop",
        }
    ]
    n, n_prompt = len(want.token_ids), len(want.prompt_token_ids)
    assert found["usage"] == {"prompt_tokens": n_prompt, "completion_tokens": n, "total_tokens": n_prompt + n}
    assert (found["object"], found["model"], found["id"][:5]) == ("text_completion", path, "cmpl-")
    assert llama.create_completion(llm.tokenize("A text."), max_tokens=8, temperature=0.0, model="m")["model"] == "m"


def test_sampling_is_that_of_the_engine(llama, llm):
    """All parameters by their own names; the seed is the one of the constructor."""
    named = {"top_p": 0.9, "min_p": 0.01, "typical_p": 0.95, "top_k": 30, "tfs_z": 0.97, "presence_penalty": 0.1}
    params = realizar.SamplingParams(
        temperature=0.9,
        seed=3,
        max_tokens=12,
        repetition_penalty=1.2,
        frequency_penalty=0.2,
        penalty_last_n=64,
        **named,
    )
    want = llm.generate("A text.", params)[0].text
    ask = {"temperature": 0.9, "max_tokens": 12, "repeat_penalty": 1.2, "frequency_penalty": 0.2, **named}
    assert llama("A text.", **ask)["choices"][0]["text"] == want
    assert joined(llama("A text.", **ask, stream=True)) == want
    params = realizar.SamplingParams(
        temperature=0.8, seed=7, max_tokens=12, mirostat=2, mirostat_tau=4.0, mirostat_eta=0.2, top_p=0.95, top_k=40,
        min_p=0.05,
    )  # fmt: skip
    want = llm.generate("A text.", params)[0].text
    found = llama("A text.", max_tokens=12, seed=7, mirostat_mode=2, mirostat_tau=4.0, mirostat_eta=0.2)
    assert found["choices"][0]["text"] == want


def test_echo_stop_and_chunks(llama):
    whole = llama("A text.", max_tokens=12, echo=True, **GREEDY)
    chunks = list(llama("A text.", max_tokens=12, echo=True, stream=True, **GREEDY))
    assert whole["choices"][0]["text"].startswith("A text.")
    assert joined(chunks) == whole["choices"][0]["text"]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * (len(chunks) - 1) + ["length"]
    assert len({chunk["id"] for chunk in chunks}) == 1
    text = llama("A text.", max_tokens=12, **GREEDY)["choices"][0]["text"]
    stopped = llama("A text.", max_tokens=12, stop=text[3:6], **GREEDY)["choices"][0]
    assert (stopped["text"], stopped["finish_reason"]) == (text[: text.index(text[3:6])], "stop")


@pytest.mark.parametrize("echo", [False, True])
def test_logprobs_of_completions(llama, echo):
    ask = {"max_tokens": 4, "logprobs": 2, "echo": echo, **GREEDY}
    whole = llama("A text.", **ask)["choices"][0]
    logprobs, n_prompt = whole["logprobs"], len(llama.tokenize(b"A text."))
    assert set(logprobs) == {"tokens", "token_logprobs", "top_logprobs", "text_offset"}
    assert {len(values) for values in logprobs.values()} == {4 + n_prompt * echo}
    assert logprobs["text_offset"][0] == (0 if echo else len("A text."))
    assert all(t in top for t, top in zip(logprobs["tokens"], logprobs["top_logprobs"], strict=True) if top is not None)
    pieces = [chunk["choices"][0]["logprobs"] for chunk in llama("A text.", **ask, stream=True)]
    assert [p for piece in pieces if piece for p in piece["token_logprobs"]] == logprobs["token_logprobs"][-4:]


def test_chat(llama, llm):
    params = realizar.SamplingParams(temperature=0.0, max_tokens=8)
    want = llm.chat(QUESTION, params)
    found = llama.create_chat_completion(QUESTION, max_tokens=8, **GREEDY)
    (choice,) = found["choices"]
    assert choice["message"] == {"role": "assistant", "content": want.text}
    assert choice["logprobs"] is None
    chunks = list(llama.create_chat_completion(QUESTION, max_tokens=8, stream=True, **GREEDY))
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0] == {"role": "assistant"}
    assert deltas[-1] == {}
    assert "".join(delta.get("content", "") for delta in deltas) == want.text
    assert chunks[-1]["choices"][0]["finish_reason"] == choice["finish_reason"]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}


def test_logprobs_of_chat(llama):
    ask = {"max_tokens": 3, "logprobs": True, "top_logprobs": 2, **GREEDY}
    content = llama.create_chat_completion(QUESTION, **ask)["choices"][0]["logprobs"]["content"]
    assert [len(token["top_logprobs"]) for token in content] == [2, 2, 2]
    assert all(set(token) == {"token", "logprob", "bytes", "top_logprobs"} for token in content)
    chunks = llama.create_chat_completion(QUESTION, **ask, stream=True)
    found = [chunk["choices"][0]["logprobs"] for chunk in chunks]
    assert [token for each in found if each for token in each["content"]] == content


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("by", ["tools", "functions"])
def test_tools(llama, by, stream):
    named = {"name": "weather"}
    ask = {
        "tools": {"tools": TOOLS, "tool_choice": {"type": "function", "function": named}},
        "functions": {"functions": [tool["function"] for tool in TOOLS], "function_call": named},
    }[by]
    found = llama.create_chat_completion(QUESTION, stream=stream, max_tokens=200, **ask, **GREEDY)
    if stream:
        chunks = [chunk["choices"][0] for chunk in found]
        calls = [call for chunk in chunks for call in chunk["delta"].get("tool_calls", [])]
        assert {call["index"] for call in calls} == {0}
        assert [call["function"]["name"] for call in calls if call["function"]["name"]] == ["weather"]
        arguments, finish = "".join(call["function"]["arguments"] for call in calls), chunks[-1]["finish_reason"]
    else:
        (choice,) = found["choices"]
        (call,) = choice["message"]["tool_calls"]
        assert choice["message"]["content"] is None
        assert call["function"]["name"] == "weather"
        assert ("function_call" in choice["message"]) == (by == "functions")
        arguments, finish = call["function"]["arguments"], choice["finish_reason"]
    assert json.loads(arguments)["city"] in SCHEMA["properties"]["city"]["enum"]
    assert finish == "tool_calls"


@pytest.mark.parametrize(
    "given",
    [
        {"response_format": {"type": "json_object", "schema": SCHEMA}},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}},
        {"grammar": LlamaGrammar.from_json_schema(json.dumps(SCHEMA))},
    ],
)
def test_json(llama, given):
    found = llama.create_chat_completion(QUESTION, temperature=0.0, max_tokens=60, **given)
    assert json.loads(found["choices"][0]["message"]["content"])["city"] in SCHEMA["properties"]["city"]["enum"]


def test_grammars(llama, tmp_path):
    (tmp_path / "a.gbnf").write_text('root ::= "yes" | "no"')
    for grammar in (LlamaGrammar.from_file(tmp_path / "a.gbnf"), LlamaGrammar.from_string('root ::= "yes" | "no"')):
        assert llama("A", grammar=grammar)["choices"][0]["text"] in ("yes", "no")
    with pytest.raises(GrammarError):
        llama("A", grammar=LlamaGrammar.from_string("root ::= ("))
    for wrong in ({"grammar": 'root ::= "a"'}, {"response_format": {"type": "xml"}}):
        with pytest.raises(UnsupportedError, match="must "):
            llama.create_chat_completion(QUESTION, **wrong)


def test_logit_bias_and_processors(llama):
    token = llama.tokenize(b"x")[0]
    seen = []

    def only(input_ids, scores):
        seen.append(input_ids.tolist())
        return np.where(np.arange(len(scores)) == token, np.float32(1), np.float32(-1e9))

    want = llama.detokenize([token] * 3).decode()
    processed = llama("A text.", max_tokens=3, logits_processor=LogitsProcessorList([only]))
    assert processed["choices"][0]["text"] == want
    prompt = llama.tokenize(b"A text.")
    assert seen == [prompt + [token] * i for i in range(3)]
    assert llama("A text.", max_tokens=3, logits_processor=only)["choices"][0]["text"] == want
    assert llama("A text.", max_tokens=3, logit_bias={str(token): 1e5})["choices"][0]["text"] == want


def test_stopping_criteria(llama):
    n = len(llama.tokenize(b"A text."))
    full = llama("A text.", max_tokens=10, **GREEDY)
    criteria = StoppingCriteriaList([lambda ids, logits: len(ids) >= n + 4])
    found = llama("A text.", max_tokens=10, stopping_criteria=criteria, **GREEDY)
    assert found["choices"][0]["finish_reason"] == "stop"
    assert full["choices"][0]["text"].startswith(found["choices"][0]["text"])
    assert found["usage"]["completion_tokens"] == 4
    with pytest.raises(UnsupportedError, match="a grammar decides"):
        llama("A", grammar=LlamaGrammar.from_string('root ::= "a"'), stopping_criteria=criteria)


def test_tokens(llama, llm):
    text = "Hello, wörld"
    ids = llama.tokenize(text.encode())
    assert ids == llm.tokenize(text)
    assert llama.detokenize(ids) == text.encode()
    assert llama.detokenize([*ids[:-1], llama.token_eos()]) == llama.detokenize(ids[:-1])
    eos = llm.get_tokenizer().eos_token.encode()
    assert llama.tokenize(eos, special=True)[-1] == llama.token_eos()
    assert llama.detokenize([llama.token_eos()], special=True) == eos
    assert len(llama.tokenize(eos)) > 1
    assert (llama.n_vocab(), llama.n_ctx(), llama.n_batch) == (llm.tokenizer.n_vocab, 512, 512)
    assert llama.metadata["general.architecture"] == "qwen2"
    assert llama.detokenize([llama.token_nl()]) == b"\n"
    with pytest.raises(ParameterError, match=r"bytes are needed, found 'x'; encode text with \.encode\(\)"):
        llama.tokenize("x")
    with pytest.raises(ParameterError, match="not UTF-8"):
        llama.tokenize(b"\xff")


def test_generate_yields_tokens(llama, llm):
    ids = llama.tokenize(b"A text.")
    want = llm.generate([ids], realizar.SamplingParams(temperature=0.0, max_tokens=6, ignore_eos=True))[0].token_ids
    assert list(itertools.islice(llama.generate(ids, temp=0.0), 6)) == want


@pytest.mark.parametrize(("pooling", "name"), [(1, "mean"), (3, "last"), (-1, None), (0, None)])
def test_embeddings(path, llm, pooling, name):
    llama = Llama(path, n_threads=1, pooling_type=pooling, n_batch=32)
    texts = ["A text.", "Another text " * 30]
    ids = [llm.tokenize(text)[:32] for text in texts]
    want = [vector.tolist() for vector in llm.embed(ids, name, False)]
    found = llama.create_embedding(texts)
    assert [row["embedding"] for row in found["data"]] == want
    assert [row["index"] for row in found["data"]] == [0, 1]
    assert found["usage"] == {"prompt_tokens": sum(map(len, ids)), "total_tokens": sum(map(len, ids))}
    assert llama.embed(texts[0]) == want[0]
    assert llama.embed(texts, return_count=True) == (want, sum(map(len, ids)))
    assert llama.embed([]) == []
    assert llama.pooling_type() == max(pooling, 0)
    llama.close()


def test_pickle(llama):
    other = pickle.loads(pickle.dumps(llama))
    assert other("A text.", max_tokens=4)["choices"] == llama("A text.", max_tokens=4)["choices"]
    other.close()
    assert repr(llama).startswith("<Llama on <LLM '/")


def test_prompt_lookup(path, llama):
    other = Llama(path, n_threads=1, draft_model=LlamaPromptLookupDecoding(num_pred_tokens=4), seed=3)
    assert other("A a a a a", max_tokens=20)["choices"] == llama("A a a a a", max_tokens=20)["choices"]
    assert other._llm.params.speculate == "ngram"
    other.close()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"lora_path": "x"}, UnsupportedError, "lora_path='x' is not supported: load it with realizar"),
        ({"chat_format": "llama-2"}, UnsupportedError, "chat_format='llama-2' is not supported: the chat template"),
        ({"rope_freq_base": 1e6}, UnsupportedError, "rope_freq_base"),
        ({"type_k": 3}, UnsupportedError, "type_k=3: must be 0"),
        ({"pooling_type": 9}, UnsupportedError, "pooling_type=9"),
        ({"draft_model": print}, UnsupportedError, "LlamaPromptLookupDecoding"),
        ({"n_contx": 1}, TypeError, "no parameter 'n_contx'; did you mean n_ctx"),
        ({"n_ctx": -1}, ParameterError, "n_ctx=-1"),
    ],
)
def test_wrong_options(path, options, error, message):
    with pytest.raises(error, match=message):
        Llama(path, **options)


@pytest.mark.parametrize(
    "given",
    [
        {"temperature": -1}, {"max_tokens": "x"}, {"stop": [3]}, {"stop": 3}, {"top_p": 3}, {"top_k": "x"},
        {"seed": "x"}, {"logit_bias": {"x": 1}}, {"logit_bias": 3}, {"mirostat_mode": 5}, {"response_format": 3},
        {"response_format": {"type": "json_schema"}}, {"tool_choice": "required"}, {"tools": [1]},
    ],
)  # fmt: skip
def test_wrong_arguments(llama, given):
    with pytest.raises(ParameterError, match=next(iter(given)).partition("_")[0].removesuffix("s")):
        llama.create_chat_completion(QUESTION, **given)


@pytest.mark.parametrize("method", ["embed", "create_embedding", "detokenize"])
def test_what_is_no_list(llama, method):
    with pytest.raises(ParameterError, match="=5: must be"):
        getattr(llama, method)(5)


def test_no_tools_and_no_limits(llama):
    ask = {"stop": "e", "seed": 1, "top_k": -1}
    found = [llama.create_chat_completion(QUESTION, tools=[], max_tokens=n, **ask)["choices"] for n in (None, 0, -1)]
    assert found[0] == found[1] == found[2]


def test_a_pooling_type_that_is_unknown(llama, monkeypatch):
    monkeypatch.setattr("realizar.compat.llama.ArchMetadata.integer", lambda *_: 9)
    with pytest.raises(GGUFError, match=r"pooling_type: 9 is unknown in tiny\.gguf"):
        llama.embed("A text.")


def test_neutral_options(path):
    Llama(path, n_threads=1, lora_path=None, rope_freq_base=0.0, vocab_only=False, type_k=8, type_v=2).close()


def test_missing_names(llama):
    assert not hasattr(llama, "eval")
    with pytest.raises(AttributeError, match=r"'save_state': .*realizar\.LLM\.save_cache"):
        llama.save_state()
    with pytest.raises(AttributeError, match="has no attribute 'LlamaRAMCache'; beginnings of prompts are cached"):
        realizar.compat.LlamaRAMCache  # noqa: B018
    with pytest.raises(AttributeError, match="did you mean Llama"):
        realizar.compat.LLama  # noqa: B018
    with pytest.raises(ModelNotFoundError, match="did you mean smollm2"):
        Llama("smolm2")
    with pytest.raises(UnsupportedError, match="REALIZAR_CACHE"):
        Llama.from_pretrained("o/r", "*.gguf", local_dir="x")
    with pytest.raises(TypeError, match=r"a model is loaded by realizar\.LLM"):
        realizar("smollm2")
    with pytest.raises(AttributeError, match=r"it is realizar\.compat\.Llama"):
        realizar.Llama  # noqa: B018


def test_what_does_nothing(llama):
    llama.set_cache(None)
    llama.reset()
    first = llama("A text.", max_tokens=8)
    llama.set_seed(4)
    assert llama("A text.", max_tokens=8)["choices"] != first["choices"]
    llama.set_seed(3)
    assert llama("A text.", max_tokens=8)["choices"] == first["choices"]


def test_layers_on_a_gpu(path, monkeypatch):
    """Where there is one, as many as asked for; the result does not change where there is none."""
    assert [gpu_layers(n) for n in (0, -1, 7)] == [{}, {"device": "auto"}, {"device": "auto", "n_gpu_layers": 7}]
    with pytest.raises(UnsupportedError, match="n_gpu_layers='all': must be an integer"):
        Llama(path, n_gpu_layers="all")
    for n in (0, 1):
        llama = Llama(path, n_threads=1, n_gpu_layers=n)
        assert llama._llm.engine.offload.only == "cpu"
        llama.close()
