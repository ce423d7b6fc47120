"""Adaptation of messages to chat templates: content parts, system messages, missing tools."""

import pytest

from realizar.errors import TemplateError
from realizar.tokenizer import ChatTemplate, template_limits

USER = {"role": "user", "content": "Hello there."}
IN_PARTS = {"role": "user", "content": [{"type": "text", "text": "Hello"}, {"type": "text", "text": " there."}]}
SYSTEM = {"role": "system", "content": "Be brief."}

# The ways in which templates use content, each in its shortest form.
ADDS = "{% for m in messages %}[{{ m.role + ': ' + m.content }}]{% endfor %}"  # raises for a list
PRINTS = "{% for m in messages %}[{{ m.role }}: {{ m.content }}]{% endfor %}"  # would print Python's list
WRITES_JSON = "{% for m in messages %}[{{ m.content if m.content is string else m.content | tojson }}]{% endfor %}"
SKIPS = "{% for m in messages %}[{{ m.content if m.content is string }}]{% endfor %}"  # would drop a list
BOTH = (
    "{% for m in messages %}[{{ m.role }}: {% if m.content is string %}{{ m.content }}{% else %}"
    "{% for p in m.content %}{{ p.text }}{% endfor %}{% endif %}]{% endfor %}"
)
PARTS_SPACED = "{% for m in messages %}[{% for p in m.content %}{{ p.text }} {% endfor %}]{% endfor %}"
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + ADDS
FORGETS_SYSTEM = "{% for m in messages if m.role != 'system' %}[{{ m.content }}]{% endfor %}"


def render(source, *messages, **variables):
    return ChatTemplate(source, "<s>", "</s>").render(messages, **variables)


@pytest.mark.parametrize(
    ("source", "prompt"),
    [
        (ADDS, "[user: Hello\n there.]"),
        (PRINTS, "[user: Hello\n there.]"),
        (WRITES_JSON, "[Hello\n there.]"),
        (SKIPS, "[Hello\n there.]"),
        (BOTH, "[user: Hello there.]"),
        (PARTS_SPACED, "[Hello  there. ]"),
    ],
)
def test_parts_are_joined_by_newlines_unless_the_template_supports_parts(source, prompt):
    assert render(source, IN_PARTS) == prompt


def test_single_part_becomes_its_text():
    one = {"role": "user", "content": [{"type": "text", "text": "Hello there."}]}
    for source in (ADDS, PRINTS, WRITES_JSON, SKIPS, BOTH):
        assert render(source, one) == render(source, USER)
    assert render(ADDS, {"role": "user", "content": []}) == "[user: ]"


def test_text_becomes_a_part_if_the_template_supports_only_parts():
    assert render(PARTS_SPACED, USER) == "[Hello there. ]"


def test_each_role_is_probed_separately():
    # LFM2 supports parts in user messages, but not in assistant messages.
    mixed = "{% for m in messages %}{% if m.role == 'user' %}" + BOTH.replace("messages", "[m]")
    mixed += "{% else %}" + ADDS.replace("messages", "[m]") + "{% endif %}{% endfor %}"
    answer = {**IN_PARTS, "role": "assistant"}
    assert render(mixed, IN_PARTS, answer, {**answer, "role": "tool"}, IN_PARTS) == (
        "[user: Hello there.][assistant: Hello\n there.][tool: Hello\n there.][user: Hello there.]"
    )


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        (
            {"type": "image_url", "image_url": {"url": "data:"}},
            r"messages\[1\]: a content part of type 'image_url'.*only .text., pictures",
        ),
        ({"type": "input_audio", "input_audio": {}}, "'input_audio'.*only .text., pictures"),
        ({"type": "file"}, "'file'.*only .text., pictures"),
        ({"text": "Hello"}, "type None"),
        ({"type": "text"}, 'must have a "text"'),
        ({"type": "text", "text": 3}, 'must have a "text"'),
    ],
)
def test_unsupported_part_types(part, problem):
    with pytest.raises(TemplateError, match=problem):
        render(BOTH, USER, {"role": "user", "content": [{"type": "text", "text": "x"}, part]})


@pytest.mark.parametrize("source", [NO_SYSTEM, FORGETS_SYSTEM])
def test_unsupported_system_message_is_prepended_to_the_first_user_message(source):
    with pytest.warns(UserWarning, match="has no system messages"):
        prompt = render(source, SYSTEM, IN_PARTS, USER)
    assert "Be brief.\nHello\n there.]" in prompt  # joined as in llama.cpp
    assert prompt.endswith("Hello there.]")


def test_system_message_is_kept_if_supported_or_without_a_user_message(recwarn):
    assert render(ADDS, SYSTEM, USER) == "[system: Be brief.][user: Hello there.]"
    with pytest.raises(TemplateError, match="no system role"):
        render(NO_SYSTEM, SYSTEM)
    assert not recwarn


def test_messages_of_the_caller_are_not_modified():
    messages = [SYSTEM.copy(), {**IN_PARTS}]
    with pytest.warns(UserWarning, match="has no system messages"):
        ChatTemplate(NO_SYSTEM, "", "").render(messages)
    assert messages == [SYSTEM, IN_PARTS]


def test_missing_tools_are_none_or_undefined_if_the_template_iterates_over_them():
    # Not always undefined, as in llama.cpp: templates are written for transformers, which passes None, and
    # `tools is not none` must be false.
    assert render("{{ tools is none }} {{ documents is none }}", USER) == "True True"
    for_each = "{% for tool in tools %}{{ tool }}{% endfor %}{{ tools is defined }}"  # Hermes 2 and 3, Command R+
    assert render(for_each, USER) == "False"
    assert render(for_each, USER, tools=[1, 2]) == "12True"


def test_keys_with_value_none_are_dropped():
    message = {**USER, "name": None, "tool_calls": None, "refusal": None}
    assert render("{{ messages[0].keys() | list }}", message) == "['role', 'content']"


def test_templates_may_append_only_to_their_own_lists():
    # Kimi-K2 keeps a queue of ids.
    queue = "{% set ids = [] %}{% for m in messages %}{% set _ = ids.append(m.role) %}{% endfor %}{{ ids }}"
    assert render(queue + "{{ ids.pop(0) }}{{ ids }}", USER, USER) == "['user', 'user']user['user']"
    given = ("messages", "messages[0].given", "tools", "tools[0]['a']", "some", "nested[0]")
    for name in given:
        with pytest.raises(TemplateError, match="SecurityError"):
            render(f"{{{{ {name}.append(1) }}}}", {**USER, "given": []}, tools=[{"a": []}], some=[1], nested=([1],))
    for holder in ("[a]", "{'b': a}", "(a,)", "dict(b=a)", "[none] | map('default', a, true) | list"):
        for call in ("a.append(1)", "f(1)"):
            with pytest.raises(TemplateError, match="another value references"):
                render(f"{{% set a = [] %}}{{% set f = a.append %}}{{% set h = {holder} %}}{{{{ {call} }}}}", USER)
    assert render("{% set ns = namespace(a=[]) %}{% set _ = ns.a.append([1]) %}{{ ns.a }}", USER) == "[[1]]"
    for method in ("extend([1])", "insert(0, 1)", "clear()", "remove(1)", "sort()"):
        with pytest.raises(TemplateError, match="SecurityError"):
            render(f"{{% set a = [1] %}}{{{{ a.{method} }}}}", USER)


def test_appending_is_metered(monkeypatch):
    monkeypatch.setattr(template_limits, "MAX_CHARACTERS", 10_000)
    monkeypatch.setattr(template_limits, "MAX_WORK", 100_000)
    grow = "{% set a = ['x' * 999] %}{% for i in range(999) %}{% set _ = a.append(a[0]) %}{% endfor %}"
    many = "{% set a = [] %}{% for i in range(9999) %}{% set _ = a.append(i) %}{% endfor %}"
    nest = "{% set ns = namespace(a=[1]) %}{% for i in range(99) %}{% set b = [] %}{% set _ = b.append(ns.a) %}"
    nest += "{% set _ = b.append(ns.a) %}{% set ns.a = b %}{% endfor %}{{ ns.a }}"
    own = "{% set a = [] %}{% set _ = a.append(a) %}{% set _ = a.append(a) %}{{ a }}"
    for source in (grow, many, nest, own):
        with pytest.raises(TemplateError, match="more than"):
            render(source, USER)


def test_probe_renderings_count_against_the_budget_of_the_prompt(monkeypatch):
    monkeypatch.setattr(template_limits, "MAX_WORK", 30_000)
    accounts = []
    make = template_limits.Meter
    monkeypatch.setattr(template_limits, "Meter", lambda: accounts.append(make()) or accounts[-1])
    assert render(ADDS + "{% for i in range(2000) %}{% endfor %}", USER).startswith("[user")
    assert len(accounts) == 1


def test_iterators_are_serialized_as_lists():
    # As llama.cpp does; transformers raises a TypeError. llama.cpp's own template for DeepSeek R1 has one.
    assert render("{{ messages | map(attribute='role') | tojson }}", USER, USER) == '["user", "user"]'
    assert render("{{ {'a': [1, 2, 3] | select('odd')} | tojson }}", USER) == '{"a": [1, 3]}'
    with pytest.raises(TemplateError, match="not JSON serializable"):
        render("{{ x | tojson }}", USER, x=object())
    with pytest.raises(TemplateError, match="more than"):
        render("{{ (['x' * 8000000] * 2) | map('string') | tojson }}", USER)


def test_error_of_a_missing_variable_has_a_hint():
    with pytest.raises(
        TemplateError, match=r"'functions' is undefined; .* chat_template_kwargs=\{'functions': \.\.\.\}"
    ):
        render("{{ functions.x }}", USER)
    assert ChatTemplate("{% for m in messages %}{{ functions[m] }}{% endfor %}", "", "").variables == {
        "messages",
        "functions",
    }
