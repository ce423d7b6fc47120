"""realizar.compat.Llama beside llama-cpp-python's Llama: the same calls give the same keys, types, texts and errors."""

import numpy as np
import pytest

from realizar import compat, store

llama_cpp = pytest.importorskip("llama_cpp", reason="needs llama-cpp-python (extra peers)")

OPTIONS = {"n_ctx": 256, "n_threads": 1, "logits_all": True, "verbose": False}
GREEDY = {"temperature": 0.0, "max_tokens": 5}
PROMPT = "The capital of France is"
TURN = "<|im_start|>user\nSay yes.<|im_end|>\n<|im_start|>assistant\n"
CHAT = [{"role": "user", "content": "Say yes."}]
NUMBERS = (float, np.floating)


@pytest.fixture(scope="module")
def both():
    path = str(store.resolve("smollm2"))
    theirs, ours = llama_cpp.Llama(path, **OPTIONS), compat.Llama(path, **OPTIONS)
    yield theirs, ours
    theirs.close()
    ours.close()


def alike(theirs, ours):
    """Whether two results have the same keys, types and texts; numbers may differ by the rounding of a computation."""
    if isinstance(theirs, dict):
        common = theirs.keys() - {"id", "created"}
        assert theirs.keys() == ours.keys()
        return all(alike(theirs[key], ours[key]) for key in common)
    if isinstance(theirs, list):
        return len(theirs) == len(ours) and all(map(alike, theirs, ours))
    if isinstance(theirs, NUMBERS):
        return isinstance(ours, float) and ours == pytest.approx(float(theirs), abs=0.2)
    return theirs == ours


def results(both, call):
    found = [call(llama) for llama in both]
    return [each if isinstance(each, dict) else list(each) for each in found]


@pytest.mark.parametrize(
    "given",
    [{}, {"echo": True}, {"stop": ["."]}, {"stop": " Paris"}, {"stop": None}, {"max_tokens": 1}, {"model": "m"},
     {"seed": 3}, {"logprobs": 1, "max_tokens": 3}, {"logprobs": 0, "max_tokens": 3},
     {"logit_bias": {"7042": -100.0}, "max_tokens": 1}, {"stream": True},
     {"stream": True, "logprobs": 1, "max_tokens": 3}],
    ids=str,
)  # fmt: skip
def test_completions(both, given):
    theirs, ours = results(both, lambda llama: llama.create_completion(PROMPT, **{**GREEDY, **given}))
    assert alike(theirs, ours), (theirs, ours)


def test_token_ids_as_a_prompt_and_the_call(both):
    theirs, ours = results(both, lambda llama: llama(llama.tokenize(PROMPT.encode()), **GREEDY))
    assert alike(theirs, ours), (theirs, ours)


@pytest.mark.parametrize("stream", [False, True])
def test_the_token_that_ends_a_text_is_not_counted(both, stream):
    theirs, ours = results(both, lambda llama: llama(TURN, stream=stream, temperature=0.0, max_tokens=40))
    assert alike(theirs, ours), (theirs, ours)
    assert (theirs[-1] if stream else theirs)["choices"][0]["finish_reason"] == "stop"


def test_echo_with_logprobs_has_all_tokens(both):
    """Theirs drops the last token and shifts the logprobs by one where the model adds no BOS; ours does not."""
    theirs, ours = results(both, lambda llama: llama(PROMPT, echo=True, logprobs=1, temperature=0.0, max_tokens=2))
    assert alike({**theirs, "choices": [], "logprobs": None}, {**ours, "choices": [], "logprobs": None})
    mine, other = (each["choices"][0]["logprobs"] for each in (ours, theirs))
    assert mine.keys() == other.keys()
    assert mine["tokens"][: len(other["tokens"])] == other["tokens"]
    assert mine["text_offset"][: len(other["tokens"])] == other["text_offset"]


@pytest.mark.parametrize("stream", [False, True])
def test_chat(both, stream):
    theirs, ours = results(both, lambda llama: llama.create_chat_completion(CHAT, stream=stream, **GREEDY))
    assert alike(theirs, ours), (theirs, ours)


@pytest.mark.parametrize("stream", [False, True])
def test_logprobs_of_chat(both, stream):
    """Theirs leaves out the bytes of the tokens."""
    ask = {"logprobs": True, "top_logprobs": 2, "stream": stream, "temperature": 0.0, "max_tokens": 2}
    theirs, ours = results(both, lambda llama: llama.create_chat_completion(CHAT, **ask))
    for chunk in ours if stream else [ours]:
        for token in (chunk["choices"][0]["logprobs"] or {"content": []})["content"]:
            for each in (token, *token["top_logprobs"]):
                assert bytes(each["bytes"]).decode() == each["token"]
                each["bytes"] = None
    assert alike(theirs, ours), (theirs, ours)


def test_constraints(both):
    json_object = {"type": "json_object"}
    theirs, ours = results(
        both, lambda llama: llama.create_chat_completion(CHAT, response_format=json_object, **GREEDY)
    )
    assert alike(theirs, ours), (theirs, ours)
    kinds = (llama_cpp.LlamaGrammar, compat.LlamaGrammar)
    grammars = [kind.from_string('root ::= " Rome" | " Oslo"', verbose=False) for kind in kinds]
    theirs, ours = (llama(PROMPT, grammar=g, **GREEDY) for llama, g in zip(both, grammars, strict=True))
    assert alike(theirs, ours), (theirs, ours)


def test_tokens_and_facts(both):
    theirs, ours = both
    for text in (b"", b"Hello <|im_end|> world", "Wörter\n\t".encode()):
        for options in ({}, {"add_bos": False}, {"special": True}):
            ids = theirs.tokenize(text, **options)
            assert ours.tokenize(text, **options) == ids
            for special in (False, True):
                assert ours.detokenize(ids, special=special) == theirs.detokenize(ids, special=special)
    for name in ("token_bos", "token_eos", "token_nl", "n_vocab", "n_embd", "n_ctx", "pooling_type"):
        assert getattr(ours, name)() == getattr(theirs, name)(), name
    assert ours.metadata == {name: value for name, value in theirs.metadata.items() if name in ours.metadata}
    assert ours.model_path == theirs.model_path
    ids = theirs.tokenize(PROMPT.encode())
    found = [[token for token, _ in zip(llama.generate(ids, temp=0.0), range(4), strict=False)] for llama in both]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("call", "kind"),
    [(lambda llama: llama("word " * 300, max_tokens=2), ValueError), (lambda llama: llama(PROMPT, top_q=1), TypeError),
     (lambda llama: llama.no_such_method(), AttributeError)],
)  # fmt: skip
def test_errors_are_of_the_same_kind(both, call, kind):
    for llama in both:
        with pytest.raises(kind):
            call(llama)
