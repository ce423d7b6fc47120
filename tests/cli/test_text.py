"""`run` and `chat` with a fake LLM."""

import signal

import pytest

from realizar.cli.samplers import SAMPLERS
from realizar.params import SamplingParams
from realizar.params.sampling import DEFAULTS


def test_run_answers_through_the_template(fake_llm, realizar):
    status, out, err = realizar("run", "Why?", "-m", "some.gguf", "--system", "Be brief.")
    assert (status, out, err) == (0, "you said Why?\n", "")
    kind, messages, params = fake_llm.made[0].asked[0]
    assert kind == "chat"
    assert messages == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    assert params.max_tokens == 512
    assert fake_llm.made[0].closed


@pytest.mark.parametrize("words", [["some.gguf", "Why?"], ["Why?", "-m", "some.gguf"], ["-m", "some.gguf", "Why?"]])
def test_run_takes_the_model_before_the_prompt_or_by_an_option(words, fake_llm, realizar):
    assert realizar("run", *words) == (0, "you said Why?\n", "")
    assert fake_llm.made[0].model == "some.gguf"


def test_run_and_chat_have_a_default_model(fake_llm, realizar, typed):
    typed("x\n")
    assert [realizar("run", "x")[0], realizar("chat")[0]] == [0, 0]
    assert [llm.model for llm in fake_llm.made] == ["smollm2", "smollm2"]


def test_run_raw_continues_the_text(fake_llm, realizar):
    assert realizar("run", "Once", "--raw")[1] == "raw Once\n"


def test_run_without_a_template_continues_the_text(fake_llm, realizar):
    fake_llm.chat_template = None
    assert realizar("run", "Once")[1] == "raw Once\n"


def test_run_reads_standard_input(fake_llm, realizar, typed):
    typed("grüß dich\n")
    assert realizar("run", "-")[1] == "you said grüß dich\n\n"


def test_run_says_when_standard_input_is_not_utf8(fake_llm, realizar, typed):
    typed(b"ab\xff")
    status, out, err = realizar("run", "-")
    assert (status, out) == (1, "")
    assert err == "error: standard input is not UTF-8: invalid start byte at byte 2\n"


def test_run_says_when_the_argument_is_not_utf8(fake_llm, realizar):
    status, _, err = realizar("run", "ab\udcff")
    assert status == 1
    assert "the text is not UTF-8" in err


def test_all_options_are_passed_on(fake_llm, realizar):
    words = (
        "--max-tokens 5 --temperature 0.5 --top-k 3 --top-p 0.5 --min-p 0.25 --repetition-penalty 1.5"
        " --presence-penalty 0.5 --frequency-penalty 0.25 --seed 7 --stop END --stop FIN"
        " --threads 3 --n-ctx 99 --kv-type int8/f16 --activations f32 --load read --backend numpy"
    )
    assert realizar("run", "x", *words.split())[0] == 0
    llm = fake_llm.made[0]
    params = llm.asked[0][2]
    assert (params.max_tokens, params.temperature, params.top_k, params.top_p, params.min_p) == (5, 0.5, 3, 0.5, 0.25)
    assert (params.repetition_penalty, params.presence_penalty, params.frequency_penalty) == (1.5, 0.5, 0.25)
    assert (params.seed, params.stop) == (7, ("END", "FIN"))
    engine = llm.engine_params
    assert {name: engine[name] for name in ("n_threads", "n_ctx", "kv_type", "activations", "load", "backend")} == {
        "n_threads": 3, "n_ctx": 99, "kv_type": ("int8", "f16"), "activations": "f32", "load": "read",
        "backend": "numpy",
    }  # fmt: skip


def test_template_variables_are_passed_on(fake_llm, realizar, typed):
    words = ("--chat-template-kwargs", '{"enable_thinking": false}')
    assert realizar("run", "x", *words)[0] == 0
    typed("x\n")
    assert realizar("chat", *words)[0] == 0
    assert [llm.variables for llm in fake_llm.made] == [{"enable_thinking": False}] * 2
    for wrong in ("enable_thinking=false", "[1]"):
        status, _, err = realizar("run", "x", "--chat-template-kwargs", wrong)
        assert status == 2
        assert "is not" in err


def test_sampler_options_are_passed_on(fake_llm, realizar):
    defaults = {name: DEFAULTS.get(name, option) for name, (_, option) in SAMPLERS.items()}
    numbers = {name: value for name, value in defaults.items() if value is not None}
    words = [f"--{name.replace('_', '-')}={1 if isinstance(value, int) else 1.0}" for name, value in numbers.items()]
    texts = [
        "--dry-sequence-breaker=a",
        "--bad-word=b c",
        "--bad-word=d",
        "--logit-bias=7=-inf",
        "--logit-bias",
        "8=1.5",
    ]
    order = "--samplers=temperature,typical_p,tfs_z,top_p,min_p,top_a,top_n_sigma,epsilon_cutoff,eta_cutoff,xtc,dry"
    assert realizar("run", "x", *words, *texts, order)[0] == 0
    params = fake_llm.made[0].asked[0][2]
    assert {name: getattr(params, name) for name in numbers} == dict.fromkeys(numbers, 1)
    assert (params.dry_sequence_breakers, params.bad_words) == (("a",), ("b c", "d"))
    assert params.logit_bias == ((7, float("-inf")), (8, 1.5))
    assert params.samplers[:2] == ("temperature", "typical_p")


def test_sampler_order_may_omit_samplers_of_the_defaults(fake_llm, realizar):
    assert realizar("run", "x", "--samplers", "top_p, top_k")[0] == 0
    params = fake_llm.made[0].asked[0][2]
    assert (params.samplers, params.top_p, params.min_p, params.temperature) == (("top_p", "top_k"), 0.95, None, None)
    assert realizar("run", "x", "--samplers", "top_p", "--min-p", "0.1")[0] == 0
    assert fake_llm.made[1].asked[0][2].min_p == 0.1


def test_options_override_the_file_which_overrides_our_defaults(fake_llm, realizar, typed):
    fake_llm.sampling_defaults = {"temperature": 0.6, "top_k": 20}
    for command in ("run x", "chat"):
        for words, found in (
            ("", (None, None, 0.95, 0.05)),
            ("--temperature 0 --min-p 0.2", (0.0, None, 0.95, 0.2)),
            ("--top-k 3 --samplers top_k,temperature", (None, 3, None, None)),
        ):
            typed("x\n")
            assert realizar(*command.split(), *words.split())[0] == 0
            params = fake_llm.made[-1].asked[0][2]
            assert (params.temperature, params.top_k, params.top_p, params.min_p) == found
    fake_llm.sampling_defaults = {"samplers": ("top_k", "top_p")}
    assert realizar("run", "x")[0] == 0
    params = fake_llm.made[-1].asked[0][2]
    assert (params.temperature, params.top_p, params.min_p) == (None, 0.95, None)


def test_samplers_are_off_by_default(fake_llm, realizar):
    assert realizar("run", "x")[0] == 0
    params, neutral = fake_llm.made[0].asked[0][2], SamplingParams()
    assert {name: getattr(params, name) for name in SAMPLERS} == {name: getattr(neutral, name) for name in SAMPLERS}


def test_constraints_are_passed_on(fake_llm, realizar, tmp_path):
    grammar, schema = tmp_path / "some.gbnf", tmp_path / "schema.json"
    grammar.write_text('root ::= "ja" | "nein"')
    schema.write_text('{"type": "null"}')
    for words, found in (
        (["--grammar-file", str(grammar)], ("grammar", 'root ::= "ja" | "nein"')),
        (["--json-schema", str(schema)], ("json_schema", '{"type": "null"}')),
        (["--json-schema", ' {"enum": [1]}'], ("json_schema", '{"enum": [1]}')),
        (["--regex", "a+"], ("regex", "a+")),
    ):
        assert realizar("run", "x", *words)[0] == 0
        assert getattr(fake_llm.made[-1].asked[0][2], found[0]) == found[1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--grammar-file", "nowhere.gbnf"], "--grammar-file 'nowhere.gbnf': cannot be read as a text file"),
        (["--json-schema", "a\0b"], "--json-schema 'a\\x00b': cannot be read as a text file"),
        (["--json-schema", "{"], "json_schema='{': must be a JSON object"),
        (["--regex", "a", "--json-schema", "{}"], "json_schema and regex: only one constraint can be enforced"),
    ],
)
def test_invalid_constraints_fail_before_loading(words, says, fake_llm, realizar):
    status, out, err = realizar("run", "x", *words)
    assert (status, out) == (1 if "cannot be read" in says else 2, "")
    assert says in err
    assert fake_llm.made == []


@pytest.mark.parametrize(
    "words",
    [
        ["--temperature", "nan"], ["--top-p", "2"], ["-n", "0"], ["--typical-p", "2"], ["--mirostat", "3"],
        ["--logit-bias", "x=1"], ["--logit-bias", "1"], ["--bad-word", ""],
    ],
)  # fmt: skip
def test_invalid_parameters_fail_before_loading(words, fake_llm, realizar):
    status, out, err = realizar("run", "x", *words)
    assert (status, out) == (2, "")
    assert "must be" in err
    assert fake_llm.made == []


def test_stats_go_to_standard_error(fake_llm, realizar):
    _, out, err = realizar("run", "x", "--stats")
    assert out == "you said x\n"
    assert err.startswith("load 0.")
    assert err.endswith(" | prefill 10 tokens (2 cached), 100.0 tok/s | decode 5 tokens, 50.0 tok/s\n")


def test_chat_keeps_the_history(fake_llm, realizar, typed):
    typed("one\n\ntwo\n")
    status, out, err = realizar("chat", "--system", "S")
    assert (status, out, err) == (0, "you said one\nyou said two\n", "")
    assert [m["content"] for m in fake_llm.made[0].asked[1][1]] == ["S", "one", "you said one", "two"]
    assert [m["role"] for m in fake_llm.made[0].asked[1][1]] == ["system", "user", "assistant", "user"]


def test_ctrl_c_stops_the_answer_and_not_the_chat(fake_llm, realizar, typed):
    before = signal.getsignal(signal.SIGINT)
    typed("one\ntwo\n")
    fake_llm.during[1] = lambda: (fake_llm.during.clear(), signal.raise_signal(signal.SIGINT))
    status, out, _ = realizar("chat")
    assert (status, out) == (0, "you\nyou said two\n")
    assert [m["content"] for m in fake_llm.made[0].asked[1][1]] == ["one", "you", "two"]
    assert signal.getsignal(signal.SIGINT) is before


def test_chat_drops_the_oldest_turn_when_full(fake_llm, realizar, typed):
    fake_llm.n_ctx = 30
    typed("aaaaaaaaaa\nbbbbbbbbbb\n")
    status, out, err = realizar("chat")
    assert (status, out) == (0, "you said aaaaaaaaaa\nyou said bbbbbbbbbb\n")
    assert err.count("dropped its oldest turn") == 1
    assert [m["content"] for m in fake_llm.made[0].asked[1][1]] == ["bbbbbbbbbb"]


def test_chat_reports_a_turn_that_is_too_long(fake_llm, realizar, typed):
    fake_llm.n_ctx = 3
    typed("aaaaaaaaaa\n")
    status, _, err = realizar("chat")
    assert (status, err) == (1, "error: too long\n")


def test_chat_needs_a_template(fake_llm, realizar):
    fake_llm.chat_template = None
    status, _, err = realizar("chat")
    assert status == 1
    assert "no chat template" in err


def test_chat_skips_a_line_that_is_not_utf8(fake_llm, realizar, typed):
    typed(b"one\n\xff\xfe text\xe9\ntwo\n")
    status, out, err = realizar("chat")
    assert (status, out) == (0, "you said one\nyou said two\n")
    assert err == "(skipped a line that is not UTF-8: invalid start byte at byte 0)\n"


def test_chat_stats(fake_llm, realizar, typed):
    typed("one\n")
    assert realizar("chat", "--stats")[2].startswith("prefill 10 tokens")
