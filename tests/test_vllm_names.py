"""What users of vLLM write: names of params, prompts as dicts, attributes of results, the tokenizer, [] gives []."""

import json
import math
import pickle
import sys

import numpy as np
import pytest

from realizar import LLM, SamplingParams, StructuredOutputsParams
from realizar.calls import ChatText
from realizar.engine.token_logprobs import Logprob
from realizar.errors import ParameterError, TemplateError, TokenizerError
from tests.server.serving import TOOLS, write_model

GREEDY = SamplingParams(temperature=0.0, max_tokens=5, ignore_eos=True)
QUESTION = [{"role": "user", "content": "How are you?"}]


@pytest.fixture(scope="module")
def llm(tmp_path_factory):
    with LLM(write_model(tmp_path_factory.mktemp("vllm") / "tiny.gguf"), n_threads=1, n_ctx=512) as llm:
        yield llm


def test_sampling_params_is_another_name(llm):
    want = llm.generate("A text.", GREEDY)[0].token_ids
    assert llm.generate(["A text."], sampling_params=GREEDY)[0].token_ids == want
    assert llm.generate(prompts="A text.", sampling_params=[GREEDY])[0].token_ids == want
    assert llm.generate("A text.", None, sampling_params=GREEDY)[0].token_ids == want
    with pytest.raises(ParameterError, match="both were given"):
        llm.generate("A text.", GREEDY, sampling_params=GREEDY)


@pytest.mark.parametrize("call", ["generate", "stream", "events", "chat"])
def test_a_dict_in_place_of_params(llm, call):
    prompt = QUESTION if call == "chat" else "A text."
    with pytest.raises(ParameterError, match=r"found \{'temperature': 0\}; write SamplingParams\(temperature=0\)"):
        getattr(llm, call)(prompt, {"temperature": 0})


def test_progress_bar_on_standard_error(llm, capsys):
    llm.generate(["A", "B", "C"], GREEDY, use_tqdm=True)
    out, err = capsys.readouterr()
    assert "3/3" in err
    assert not out
    llm.generate("A", GREEDY)
    assert capsys.readouterr() == ("", "")
    assert "tqdm" not in sys.modules
    with pytest.raises(ParameterError, match="use_tqdm"):
        llm.generate("A", GREEDY, use_tqdm=print)


def test_prompts_as_dicts(llm):
    ids = llm.tokenize("A text.")
    want = llm.generate("A text.", GREEDY)[0].token_ids
    both = llm.generate([{"prompt": "A text."}, {"prompt_token_ids": ids, "prompt": None}], GREEDY)
    assert [each.token_ids for each in both] == [want, want]
    assert [each.prompt for each in both] == ["A text.", None]
    assert llm.generate({"prompt_token_ids": ids}, GREEDY)[0].token_ids == want
    assert "".join(llm.stream({"prompt": "A text."}, GREEDY)) == llm.generate("A text.", GREEDY)[0].text
    rows = np.zeros((3, 64), np.float32)
    with pytest.raises(ParameterError, match="n_embd"):
        llm.generate({"prompt_embeds": rows}, GREEDY)
    for bad, message in [
        ({}, 'must have "prompt"'),
        ({"prompt": 3}, 'must have "prompt"'),
        ({"text": "A"}, "'text' of a dict is not supported"),
        ({"prompt": "A", "multi_modal_data": {"image": 1}}, "'multi_modal_data'"),
    ]:
        with pytest.raises(ParameterError, match=message):
            llm.generate(bad, GREEDY)


def test_results_have_the_prompt(llm):
    params = SamplingParams(temperature=1.0, seed=1, n=2, max_tokens=3, logprobs=0, prompt_logprobs=1)
    first, second = llm.generate(["A text.", [5, 6, 7]], params)
    assert (first.prompt, second.prompt) == ("A text.", None)
    assert first.prompt_token_ids == llm.tokenize("A text.")
    assert second.prompt_token_ids == [5, 6, 7]
    assert len({first.request_id, second.request_id}) == 2
    for one in first.outputs:
        assert (one.prompt, one.request_id) == ("A text.", first.request_id)
        assert one.cumulative_logprob == pytest.approx(sum(each.logprob for each in one.logprobs))
    assert llm.generate("A text.", GREEDY)[0].cumulative_logprob is None
    beams = llm.generate("A text.", SamplingParams(n_beams=2, n=2, max_tokens=3, logprobs=1))[0]
    assert [each.prompt for each in beams.outputs] == ["A text."] * 2
    assert beams.cumulative_logprob == pytest.approx(sum(each.logprob for each in beams.logprobs))
    chat = llm.chat(QUESTION, GREEDY)
    assert chat.prompt == llm.chat_text(QUESTION)
    assert chat.prompt_token_ids == llm.chat_prompt(QUESTION).ids


def test_logprobs_have_texts_and_ranks(llm):
    (completion,) = llm.generate("A text.", SamplingParams(temperature=3.0, seed=2, max_tokens=8, logprobs=3))
    logits = llm.logits([*llm.tokenize("A text."), *completion.token_ids])[-9:-1]
    for token, each, row in zip(completion.token_ids, completion.logprobs, logits, strict=True):
        order = np.lexsort((np.arange(len(row)), -row))
        assert each.rank == 1 + (row > row[token]).sum()
        assert set(each) == {token, *order[:3].tolist()}
        assert len(each) == len(set(each))
        assert each[token] == Logprob(
            each.logprob, each.rank, llm.tokenizer.token_bytes(token).decode(errors="replace")
        )
        assert [each[i].rank for i in order[:3].tolist()] == [1, 2, 3]
        assert [i for i, _ in each.top] == order[:3].tolist()
        assert each.decoded_token == each[token].decoded_token
        assert each.token_bytes == llm.tokenizer.token_bytes(token)
        assert each.get(order[-1]) is None or order[-1] == token
    again = pickle.loads(pickle.dumps(completion))
    assert again.logprobs == completion.logprobs
    assert [each.decoded_token for each in again.logprobs] == [each.decoded_token for each in completion.logprobs]
    assert repr(completion.logprobs[0]).startswith(f"TokenLogprobs({completion.token_ids[0]}, ")
    score = llm.score("A text.", " More")
    assert score.logprobs[0].decoded_token == llm.detokenize([score.token_ids[0]])


def test_minus_one_is_everything(llm):
    assert SamplingParams(top_k=-1) == SamplingParams(top_k=0)
    (completion,) = llm.generate("A", SamplingParams(temperature=0.0, max_tokens=1, logprobs=-1, prompt_logprobs=-1))
    (each,) = completion.logprobs
    assert len(each) == llm.tokenizer.n_vocab
    assert math.fsum(math.exp(logprob) for _, logprob in each.top) == pytest.approx(1.0, abs=1e-5)
    assert [len(each) for each in completion.prompt_logprobs[1:]] == [llm.tokenizer.n_vocab] * (
        len(completion.prompt_logprobs) - 1
    )


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({"json": {"type": "integer"}}, "json_schema", '{"type": "integer"}'),
        ({"json": '{"type": "integer"}'}, "json_schema", '{"type": "integer"}'),
        ({"regex": "a+", "json": None}, "regex", "a+"),
        ({"choice": ["a", "b"]}, "choice", ("a", "b")),
        ({"grammar": 'root ::= "a"'}, "grammar", 'root ::= "a"'),
        ({"json_object": True}, "json_schema", '{"type": "object"}'),
    ],
)
def test_structured_outputs(given, field, value):
    for structured in (given, StructuredOutputsParams(**given)):
        params = SamplingParams(structured_outputs=structured)
        assert getattr(params, field) == value
        assert params == SamplingParams(**{field: value})


def test_structured_outputs_are_enforced(llm):
    params = SamplingParams(temperature=0.0, structured_outputs=StructuredOutputsParams(choice=["Yes", "No"]))
    assert llm.generate("A", params)[0].text in ("Yes", "No")


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({}, ParameterError, "exactly one of json, regex"),
        ({"regex": "a", "json": "{}"}, ParameterError, "found regex, json"),
        ("a+", ParameterError, "must be StructuredOutputsParams or a mapping"),
        ({"jsonn": "{}"}, ParameterError, "did you mean json"),
        ({"structural_tag": "x"}, ParameterError, "pass tools to chat"),
        ({"regex": 3}, ParameterError, "regex=3"),
    ],
)
def test_wrong_structured_outputs(given, error, message):
    with pytest.raises(error, match=message):
        SamplingParams(structured_outputs=given)


def test_structured_outputs_and_a_constraint():
    with pytest.raises(ParameterError, match="None where structured_outputs gives it"):
        SamplingParams(regex="a", structured_outputs={"regex": "b"})
    with pytest.raises(ParameterError, match="only one constraint"):
        SamplingParams(choice=["a"], structured_outputs={"regex": "b"})


def test_nothing_gives_nothing(llm):
    assert llm.generate([]) == llm.generate((), GREEDY) == llm.generate(np.array([]), []) == []
    assert llm.embed([]).shape == (0, llm.engine.model.n_hidden)
    assert llm.embed([], dimensions=8).shape == (0, 8)
    assert llm.embed([], pooling=None) == []
    with pytest.raises(ParameterError, match="no tokens"):
        llm.generate([[]])
    with pytest.raises(ParameterError, match="0 prompts, but 1 params"):
        llm.generate([], [GREEDY])


def test_unknown_names_say_what_is_meant():
    for name, meant in [
        ("tempera", "did you mean temperature"),
        ("max_new_tokens", "here it is max_tokens"),
        ("guided_decoding", "pass structured_outputs"),
        ("xyz", "has no parameter 'xyz'$"),
    ]:
        with pytest.raises(TypeError, match=meant):
            SamplingParams(**{name: 1})
    for name, meant in [
        ("max_model_len", "here it is n_ctx"),
        ("dtype", "the file decides"),
        ("n_thread", "n_threads"),
    ]:
        with pytest.raises(TypeError, match=f"LLM has no parameter '{name}'.*{meant}"):
            LLM("made-up", **{name: 1})


def test_logits_of_text_say_what_to_pass(llm):
    with pytest.raises(ParameterError, match=r"found the text 'A text'; its ids are llm\.tokenize\(text\)"):
        llm.logits("A text")
    with pytest.raises(ParameterError, match="token ids are needed"):
        llm.logits({"prompt": "A text"})
    assert len(llm.logits({"prompt_token_ids": [3, 4]})) == 2


def test_chat_template_of_the_tokenizer(llm):
    tokenizer = llm.get_tokenizer()
    text = tokenizer.apply_chat_template(QUESTION, tokenize=False, add_generation_prompt=True)
    ids = tokenizer.apply_chat_template(QUESTION, add_generation_prompt=True)
    assert text == llm.chat_text(QUESTION)
    assert ids == llm.chat_prompt(QUESTION).ids == tokenizer.encode(text, add_special_tokens=False)
    assert isinstance(text, ChatText)
    without = tokenizer.apply_chat_template(QUESTION, tokenize=False)
    assert text.startswith(without)
    assert len(without) < len(text)
    assert tokenizer.apply_chat_template([QUESTION, QUESTION], add_generation_prompt=True) == [ids, ids]
    with_tools = tokenizer.apply_chat_template(QUESTION, TOOLS, add_generation_prompt=True, tokenize=False)
    assert with_tools == llm.chat_text(QUESTION, tools=TOOLS) != text
    with pytest.raises(ParameterError, match="return_tensors is not supported"):
        tokenizer.apply_chat_template(QUESTION, return_tensors="pt")
    for no_messages in ("Hi", ["Hi"]):
        with pytest.raises(TemplateError, match="found str"):
            tokenizer.apply_chat_template(no_messages)


def test_another_template_and_a_continued_message_of_the_tokenizer(llm):
    tokenizer = llm.get_tokenizer()
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content }};{% endfor %}{{ '<new>' if add_generation_prompt }}"
    begun = [*QUESTION, {"role": "assistant", "content": "Well"}]
    assert tokenizer.apply_chat_template(begun, tokenize=False, chat_template=template).endswith("<assistant>Well;")
    given = {"chat_template": template, "continue_final_message": True}
    text = tokenizer.apply_chat_template(begun, tokenize=False, **given)
    assert text == llm.chat_text(begun, **given)
    assert text.endswith("<assistant>Well")
    assert tokenizer.apply_chat_template([begun, begun], tokenize=False, **given) == [text, text]
    with pytest.raises(ParameterError, match="give one of them"):
        tokenizer.apply_chat_template(begun, add_generation_prompt=True, continue_final_message=True)


def test_rendered_text_is_tokenized_as_chat_does(llm):
    text, chat = llm.chat_text(QUESTION), llm.chat(QUESTION, GREEDY)
    rendered, dict_, plain = llm.generate([text, {"prompt": text}, str(text)], GREEDY)
    assert rendered.prompt_token_ids == dict_.prompt_token_ids == chat.prompt_token_ids
    assert rendered.text == chat.text
    assert plain.prompt_token_ids == llm.tokenize(str(text)) != chat.prompt_token_ids


def test_tokenizer_as_in_transformers(llm):
    tokenizer, text = llm.get_tokenizer(), "Hello, wörld"
    ids = tokenizer.encode(text)
    assert ids == llm.tokenize(text)
    assert tokenizer(text) == {"input_ids": ids, "attention_mask": [1] * len(ids)}
    assert tokenizer([text, text])["input_ids"] == [ids, ids]
    assert tokenizer.decode(ids) == text
    assert tokenizer.batch_decode([ids, ids]) == [text, text]
    assert len(tokenizer) == tokenizer.vocab_size == len(tokenizer.get_vocab())
    assert tokenizer.convert_ids_to_tokens(tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text))) == (
        tokenizer.tokenize(text)
    )
    assert tokenizer.convert_tokens_to_ids(tokenizer.eos_token) == tokenizer.eos_token_id
    assert tokenizer.eos_token_id in tokenizer.all_special_ids
    assert tokenizer.decode(tokenizer.eos_token_id) == tokenizer.eos_token
    assert not tokenizer.decode([tokenizer.eos_token_id], skip_special_tokens=True)
    assert tokenizer.chat_template == llm.tokenizer.chat_template.source
    assert repr(tokenizer).startswith("<HFTokenizer")
    for call, bad in [(tokenizer.convert_tokens_to_ids, "no token"), (tokenizer.convert_ids_to_tokens, 10**6)]:
        with pytest.raises(TokenizerError):
            call(bad)


def test_reprs_and_html(llm):
    (completion,) = llm.generate("A", SamplingParams(temperature=1.0, seed=1, n=2, max_tokens=3, ignore_eos=True))
    shown = repr(completion)
    assert shown == (f"Completion({completion.text!r}, finish_reason='length', n_tokens=3, n_others=1)")
    assert completion._repr_html_().count("<pre") == 2
    assert repr(llm).startswith("<LLM '/")
    assert repr(llm).endswith("tiny.gguf': qwen2, n_ctx=512>")


def test_html_is_escaped(llm):
    schema = {"const": {"a": "<script>alert(1)</script>&\"'"}}
    (completion,) = llm.generate("A", SamplingParams(temperature=0.0, json_schema=schema, max_tokens=None))
    assert json.loads(completion.text) == schema["const"]
    assert "<script>" not in completion._repr_html_()
    assert "&lt;script&gt;" in completion._repr_html_()
