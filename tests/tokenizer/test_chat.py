"""ChatTemplate: features that real templates need, and limits for untrusted templates."""

import json
from datetime import datetime
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realizar.errors import TemplateError
from realizar.gguf import GGUFFile
from realizar.tokenizer import ChatTemplate, chat, template_limits
from tests.clocks import Clock
from tests.shared import needs_shared
from tests.tokenizer.vocabularies import VECTORS, of_file, real

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + "
    "'\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
HELLO = [{"role": "user", "content": "Hello"}]


def render(source, messages=HELLO, **variables):
    return ChatTemplate(source, "<s>", "</s>").render(messages, **variables)


def test_messages_are_rendered_to_a_prompt():
    prompt = "<|im_start|>user\nHello<|im_end|>\n"
    assert render(CHATML) == prompt + "<|im_start|>assistant\n"
    assert render(CHATML, add_generation_prompt=False) == prompt


def test_template_variables():
    assert render("{{ bos_token }}{{ eos_token }}") == "<s></s>"
    assert render("{{ tools is none }} {{ documents is none }} {{ nothing is defined }}") == "True True False"
    assert render("{{ tools|length }}{{ enable_thinking }}", tools=[{}], enable_thinking=False) == "1False"


def test_template_may_use_the_current_date(monkeypatch):
    monkeypatch.setattr(chat, "datetime", SimpleNamespace(now=lambda: datetime(2031, 5, 7)))
    assert render("{{ strftime_now('%d %b %Y') }}") == "07 May 2031"


def test_whitespace_around_blocks_is_trimmed():
    assert render("  {% if true %}\nx\n  {% endif %}\ny") == "x\ny"


def test_loop_controls_namespaces_and_generation_blocks():
    source = (
        "{% set ns = namespace(n=0) %}{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}"
        "{% if i == 5 %}{% break %}{% endif %}{% set ns.n = ns.n + i %}{{ loop.index }}/{{ loop.length }} {% endfor %}"
        "{% generation %}{{ ns.n }}{% endgeneration %}"
    )
    assert render(source) == "1/9 2/9 4/9 5/9 8"


def test_namespace_does_not_print_its_content():
    assert render("{% set ns = namespace(a=1) %}{% set ns.a = [ns, ns] %}{{ ns.a }}") == "[<namespace>, <namespace>]"


def test_loop_variables():
    neighbours = "{{ loop.previtem }}{{ x }}{{ loop.nextitem }}{{ loop.last }}{{ loop.revindex }} "
    assert render("{% for x in 'abc' %}" + neighbours + "{% endfor %}") == "abFalse3 abcFalse2 bcTrue1 "
    assert render("{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% else %}none{% endfor %}") == "a1"
    assert render("{% for x in [] %}{% else %}none{% endfor %}") == "none"
    tree = "{% for x in [[1, [2]], [3]] recursive %}{{ loop(x) if x is iterable else x }}{% endfor %}"
    assert render(tree) == "123"


def test_macros_filters_and_tests():
    assert render("{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m('a') ~ m(1) }}") == "<a><1>"
    assert render("{{ messages|map(attribute='role')|join(', ') }}") == "user"
    assert render("{{ messages|selectattr('role', 'equalto', 'user')|list|length }}") == "1"
    assert render("{{ ' a\\nb '|trim|indent(2)|upper }}{{ 'a-b'.split('-')[1:] }}") == "A\n  B['b']"
    assert render("{{ '%02d|%s'|format(3, 'x') }}{{ '{}:{:>3}'.format(1, 2) }}") == "03|x1:  2"
    assert render("{{ [1, 2.5]|sum }}{{ 'aXb'|replace('X', '--') }}{{ 'aXb'.replace('X', '++') }}") == "3.5a--ba++b"
    assert render("{{ 'ab' * 2 }}{{ 2 ** 10 }}{{ 7 % 4 }}{{ 'n=%d' % 5 }}{{ [1] + [2] }}") == "abab10243n=5[1, 2]"
    assert (
        render("{{ dict(a=1) }}{{ (1, 2) }}{% set a, b = 1, 2 %}{{ b }}{{ '-'.join(['x', 'y']) }}")
        == "{'a': 1}(1, 2)2x-y"
    )


def test_tojson_matches_transformers():
    value = {"b": "<ä>", "a": [1, None, True]}
    for arguments, expected in (
        ("", json.dumps(value, ensure_ascii=False)),
        ("indent=2", json.dumps(value, ensure_ascii=False, indent=2)),
        ("ensure_ascii=true, sort_keys=true, separators=(',', ':')", '{"a":[1,null,true],"b":"<\\u00e4>"}'),
    ):
        assert render(f"{{{{ v|tojson({arguments}) }}}}", v=value) == expected


def test_values_are_printed_as_in_transformers():
    """What llama.cpp's own engine renders otherwise (findings/llama-cpp-template-*.sh)."""
    value = {"amount": 1234567.89, "latitude": 52.5200066, "rate": 2.0}
    assert render("{{ v|tojson }}", v=value) == '{"amount": 1234567.89, "latitude": 52.5200066, "rate": 2.0}'
    assert render("{{ v }} {{ [1, 2] }}", v={"a": None}) == "{'a': None} [1, 2]"
    assert render("{{ v|default('x') }}{{ w|default('x') }}", v=None) == "Nonex"
    assert render("{% set x = 1 %}{% for i in [5, 6] %}{{ x }}{% set x = i %}{{ x }}{% endfor %}{{ x }}") == "15161"


@needs_shared
def test_phi3_template():
    tokenizer = of_file(VECTORS / "ggml-vocab-phi-3.gguf")
    prompt = tokenizer.chat_template.render(HELLO)
    assert prompt == "<s><|user|>\nHello<|end|>\n<|assistant|>\n"
    assert tokenizer.encode(prompt, add_special=False, parse_special=True)[:2] == [1, 32010]


@pytest.mark.real_model
@pytest.mark.parametrize("model", ["smollm2", "qwen2.5-coder-0.5b"])
def test_real_templates_match_transformers(model):
    utils = pytest.importorskip("transformers.utils.chat_template_utils")
    if not real(model).is_file():
        pytest.skip(f"the real model is not in the cache ({real(model)})")
    with GGUFFile(real(model)) as file:
        source = file.metadata["tokenizer.chat_template"]
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    called = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}]}
    plain = [{"role": "system", "content": "Be brief."}, *HELLO, {"role": "assistant", "content": "Hi <b>"}, *HELLO]
    with_tools = [*HELLO, called, {"role": "tool", "content": "3"}]
    for messages, tools in ((HELLO, None), (plain, None), (with_tools, [tool])):
        if model == "smollm2" and tools:
            continue  # its template does not support tools
        (theirs,), _ = utils.render_jinja_template(
            [messages], chat_template=source, tools=tools, add_generation_prompt=True
        )
        assert ChatTemplate(source, "", "").render(messages, tools=tools) == theirs


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ([], "the list is empty"),
        ("Hello", "must be a list of messages, found str"),
        ({"role": "user"}, "must be a list of messages, found dict"),
        (["Hello"], r"messages\[0\]: must be .* found str"),
        ([{"content": "x"}], r'messages\[0\]: "role" must be a string'),
        ([{"role": "", "content": "x"}], '"role" must be a string'),
        ([*HELLO, {"role": "user"}], r'messages\[1\]: has no "content"'),
        ([{"role": "user", "content": 3}], '"content" must be a string or a list of parts'),
        ([{"role": "user", "content": ["x"]}], '"content" must be a string or a list of parts'),
    ],
)
def test_malformed_messages(messages, problem):
    with pytest.raises(TemplateError, match=problem):
        render(CHATML, messages)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{{ raise_exception('roles must alternate') }}", "rejects these messages: roles must alternate"),
        ("a\n{% for %}", "failed in line 2: TemplateSyntaxError"),
        ("a\n\n{{ 1 / 0 }}", "failed in line 3: ZeroDivisionError"),
        ("{{ nothing.at.all }}", "UndefinedError"),
        ("{{ messages|nothing }}", "No filter named 'nothing'"),
        ("{% include 'x' %}", "failed"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError"),
        ("{{ messages.append(1) }}", "SecurityError"),
        ("{{ messages|attr('append') }}", "No filter named 'attr'"),
        ("{{ " + "(" * 5000 + ")" * 5000 + " }}", "failed"),
        ("{% for x in a %}" * 30 + "{% endfor %}" * 30, "failed"),
    ],
)
def test_failures(source, problem):
    with pytest.raises(TemplateError, match=problem):
        render(source)


DOUBLING = "{% set s = 'xxxxxxxxxxxxxxxxx' %}" + "{% set s = s OP s %}" * 40
BOMBS = {
    "range": "{% for i in range(10**9) %}{% endfor %}",
    "nested loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "nested comprehension": "{% for i in range(99999) if range(99999)|select('odd')|list|length == 3 %}{% endfor %}",
    "long text in a loop": "{% set x %}{% for i in range(99999) %}" + "x" * 9999 + "{% endfor %}{% endset %}",
    "text in nested loops": "{% for i in range(9999) %}{% for j in range(9999) %}xxx{% endfor %}{% endfor %}",
    "many long outputs": "{% set s = 'x' * 9999999 %}" + "{{ s }}" * 200,
    "macro that calls itself": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "macro that calls itself twice": "{% macro m(n) %}{{ m(n-1) ~ m(n-1) if n }}{% endmacro %}{{ m(99) }}",
    "recursive loop": "{% for x in range(9999) recursive %}{{ loop(range(9999)) }}{% endfor %}",
    "times": "{{ 'x' * 10**9 }}",
    "times, turned round": "{{ 10**9 * 'x' }}",
    "a list times": "{{ [1] * 10**9 }}",
    "power": "{{ 10**(10**10) }}",
    "squares": "{% set n = 3 %}" + "{% set n = n * n %}" * 60 + "{{ n }}",
    "shift by power of negative": "{{ 2 ** 99999999 }}",
    "plus": DOUBLING.replace("OP", "+"),
    "tilde": DOUBLING.replace("OP", "~"),
    "a long tilde": "{% set s = 'x' * 8000000 %}{% set t = s" + " ~ s" * 300 + " %}",
    "a list of lists": "{% set a = [1] %}" + "{% set a = [a, a] %}" * 60 + "{{ a }}",
    "a dict of dicts": "{% set a = {} %}" + "{% set a = {'x': a, 'y': a} %}" * 60 + "{{ a == a }}{{ a|tojson }}",
    "a tuple of tuples": "{% set a = (1,) %}" + "{% set a = (a, a) %}" * 60 + "{{ a|string }}",
    "dict()": "{% set a = 1 %}" + "{% set a = dict(x=a, y=a) %}" * 60 + "{{ a }}",
    "percent": "{{ '%999999999d' % 1 }}",
    "percent with a name": "{{ '%(a(b))999999999d' % {'a(b)': 1} }}",
    "percent with a star": "{{ '%*d' % (999999999, 1) }}",
    "format filter": "{{ '%999999999d'|format(1) }}",
    "str.format": "{{ '{:999999999}'.format(1) }}",
    "str.format, nested": "{{ '{:{}}'.format(1, 999999999) }}",
    "str.format_map": "{{ '{a:999999999}'.format_map({'a': 1}) }}",
    "str.format in an attribute": "{{ '{:999999999}'['format'](1) }}",
    "ljust": "{{ 'x'.ljust(10**9) }}",
    "zfill": "{{ 'x'.zfill(10**9) }}",
    "center": "{{ 'x'|center(10**9) }}",
    "indent": "{{ 'x'|indent(10**9, first=true) }}",
    "indent of many lines": "{{ ('x\\n' * 1000000)|indent(9999) }}",
    "indent by a text": "{{ ('x\\n' * 1000000)|indent('y' * 1000000) }}",
    "replace filter": "{{ ('x' * 1000000)|replace('x', 'y' * 1000000) }}",
    "str.replace": "{{ ('x' * 1000000).replace('', 'y' * 1000000) }}",
    "join filter": "{{ range(99999)|join('y' * 1000000) }}",
    "str.join": "{{ ('y' * 1000000).join(['a'] * 99999) }}",
    "str.join of an iterator": "{{ ('y' * 1000000).join('a' * 99999) }}",
    "map of a filter": "{{ range(99999)|map('string')|map('replace', '1', 'y' * 1000000)|list|length }}",
    "much JSON": "{% set a = ['x' * 100] * 9999 %}{% for i in range(99999) %}{% set t = a|tojson %}{% endfor %}",
    "translate": "{{ ('x' * 100000).translate({120: 'y' * 1000000}) }}",
    "expandtabs": "{{ ('\\t' * 1000000).expandtabs(9999) }}",
    "strip": "{{ ('x' * 8000000).strip('y' * 8000000 ~ 'x') }}",
    "trim": "{{ ('x' * 8000000)|trim('y' * 8000000 ~ 'x') }}",
    "encode": "{{ 'x'.encode('utf-8') * 10**9 }}",
    "indent of other lines": "{{ ('x\\x0b' * 1000000)|indent(9999) }}",
    "int": "{{ ('9' * 8000000)|int }}",
    "to_bytes": "{{ (1).to_bytes(10**9) }}",
    "round": "{{ 5|round(-999999999) }}",
    "sum of lists": "{{ ([[1]] * 99999)|sum(start=[]) }}",
    "lipsum": "{{ lipsum(n=10**7) }}",
    "tojson": "{{ ([[1]] * 99999)|tojson(indent=9999) }}",
    "tojson indent": "{{ [1]|tojson(indent=10**9) }}",
    "constants": "{{ 'x'|indent(10**9, true) ~ 'x' * 10**9 }}",
    "autoescape constants": "{% autoescape 'x'|indent(10**9, true) %}{% endautoescape %}",
}  # fmt: skip


LONG_BOMBS = ("a list of lists", "a dict of dicts", "a tuple of tuples", "nested comprehension", "tojson")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LONG_BOMBS else name for name in BOMBS]
)
def test_resource_bombs_hit_a_limit(name, monkeypatch):
    """The deadline passes after twenty clock reads; no single step between two reads takes long."""
    monkeypatch.setattr(template_limits, "MAX_SECONDS", 1.0)
    monkeypatch.setattr(template_limits, "time", Clock(tick=5e-2))
    with pytest.raises(TemplateError):
        render(BOMBS[name])


def test_limits_allow_long_conversations():
    messages = [{"role": "user", "content": "some words " * 400}] * 1000  # 4.4 million characters
    assert len(render(CHATML, messages)) > 4_400_000


@given(source=st.text("{%}#- \nabcsetforin()[]|~*+.'\"0123456789=", max_size=60))
def test_failures_are_always_template_errors(source):
    try:
        ChatTemplate(source, "", "").render(HELLO)
    except TemplateError as error:
        assert str(error)  # noqa: PT017
