"""Answers: streamed, stopped, regenerated, branched, with thoughts and tool calls, and errors in words."""

import json

import pytest

pytest.importorskip("playwright.sync_api", reason="needs the extra web")

from playwright.sync_api import expect

from realizar.server.errors import ApiError
from tests.web.scripted import Answer, Break, Gate, call, pieces, text, thought
from tests.web.steps import answer_text, ask, button, contents, done, last_answer, send

LONG = "".join(f"Paragraph {i} of a long text.\n\n" for i in range(100))


def test_an_answer(page, script):
    script.says("Hello, *world*")
    ask(page, "Hi")
    assert answer_text(page) == "Hello, world"
    (request,) = script.requests
    assert contents(request) == [("user", "Hi")]
    assert request["stream"] is True
    assert request["model"] == "tiny"
    assert set(request) == {"messages", "model", "stream", "stream_options"}
    expect(last_answer(page)).to_contain_text("5 tokens")
    expect(page.locator(".context")).to_contain_text("25 of 4,096 tokens of context")
    expect(page).to_have_title("Hi - realizar")
    expect(page.get_by_role("status")).to_have_text("The answer is complete")


def test_the_next_message_has_all_before_it(page, script):
    script.says("First", "Second")
    ask(page, "One")
    ask(page, "Two", 2)
    assert contents(script.requests[1]) == [("user", "One"), ("assistant", "First"), ("user", "Two")]


def test_an_answer_is_shown_while_it_is_written_and_its_blocks_stay(page, script):
    first, second = Gate(), Gate()
    script.says([text("# Title\n\nSome **bold** text.\n\n-"), first, text(" item\n\n```python\nx = 1"), second])
    send(page, "Go")
    expect(last_answer(page).locator("strong")).to_have_text("bold")
    assert last_answer(page).locator("ul, hr, h4").count() == 0  # "-" may become anything
    page.evaluate("document.querySelector('.answer strong').seen = true")
    first.open()
    expect(last_answer(page).locator("li")).to_have_text("item")
    expect(last_answer(page).locator("pre .hljs-number")).to_have_text("1")
    page.evaluate("document.querySelector('.answer pre').seen = true")
    second.open()
    done(page)
    assert page.evaluate("['.answer strong', '.answer pre'].map(q => document.querySelector(q).seen)") == [True, True]


@pytest.mark.parametrize("how", ["button", "Escape"])
def test_stop(page, script, how):
    gate = Gate()
    script.says([text("Some"), gate, text("never")], "Again")
    send(page, "Go")
    expect(last_answer(page)).to_contain_text("Some")
    if how == "button":
        button(page, "Stop").click()
    else:
        page.keyboard.press("Escape")
    done(page)
    expect(last_answer(page)).to_contain_text("Stopped.")
    gate.open()
    ask(page, "More", 2)
    assert contents(script.requests[1]) == [("user", "Go"), ("assistant", "Some"), ("user", "More")]


def test_regenerate_and_go_between_the_versions(page, script):
    script.says("First", "Second", "Third")
    ask(page, "Go")
    for version in (2, 3):
        button(page, "Regenerate").click()
        expect(page.get_by_text(f"{version} of {version}")).to_be_visible()
        done(page)
    assert answer_text(page) == "Third"
    assert all(contents(request) == [("user", "Go")] for request in script.requests)
    button(page, "Previous").click()
    button(page, "Previous").click()
    assert answer_text(page) == "First"
    expect(button(page, "Previous")).to_be_disabled()
    button(page, "Next").click()
    assert answer_text(page) == "Second"


def test_an_edited_message_is_a_branch(page, script):
    script.says("A1", "A2", "B1")
    ask(page, "One")
    ask(page, "Two", 2)
    button(page, "Edit").first.click()
    box = page.get_by_label("Edit the message")
    expect(box).to_be_focused()
    box.fill("Other")
    page.keyboard.press("Enter")
    done(page)
    assert answer_text(page) == "B1"
    assert contents(script.requests[2]) == [("user", "Other")]
    button(page, "Previous").click()
    expect(page.locator(".bubble")).to_have_text(["One", "Two"])
    assert answer_text(page) == "A2"
    page.reload()
    page.get_by_role("navigation").get_by_text("One").click()
    expect(page.locator(".bubble")).to_have_text(["One", "Two"])


def test_an_edit_can_be_given_up(page, script):
    script.says("A")
    ask(page, "One")
    button(page, "Edit").click()
    page.keyboard.type(" and more")
    page.keyboard.press("Escape")
    expect(page.locator(".bubble")).to_have_text(["One"])
    assert len(script.requests) == 1


def test_thoughts_are_folded(page, script):
    gate = Gate()
    script.says([thought("Let me "), thought("*think*."), gate, *pieces("The answer")], "More")
    send(page, "Go")
    thoughts = last_answer(page).locator("details.thoughts")
    expect(thoughts.locator("summary")).to_have_text("Thinking")
    gate.open()
    done(page)
    expect(thoughts.locator("summary")).to_have_text("Thoughts")
    expect(thoughts.locator("em")).to_be_hidden()
    thoughts.locator("summary").click()
    expect(thoughts.locator("em")).to_be_visible()
    assert answer_text(page) == "The answer"
    ask(page, "And?", 2)
    assert script.requests[1]["messages"][1]["reasoning_content"] == "Let me *think*."


def test_tool_calls_are_shown_and_their_results_sent(page, script):
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    deltas = [call(0, '{"ci', "weather"), call(0, 'ty": "Oslo"}'), call(1, "{}", "weather")]
    script.says(Answer([text("I look."), *deltas], "tool_calls"), "It rains")
    button(page, "Settings").click()
    page.get_by_label("Tools").fill("no JSON")
    expect(page.get_by_label("Tools")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Tools").fill(json.dumps(tools))
    page.keyboard.press("Escape")
    ask(page, "Weather?")
    assert script.requests[0]["tools"] == tools
    expect(page.locator(".call summary")).to_have_text(["Tool call weather"] * 2)
    expect(page.locator(".call pre").first).to_have_text('{\n  "city": "Oslo"\n}')
    boxes = page.get_by_label("Result of weather", exact=True).and_(page.locator("textarea"))
    boxes.nth(0).fill("rain")
    boxes.nth(1).fill("wind")
    button(page, "Send the results").click()
    done(page, 2)
    sent = script.requests[1]["messages"]
    assert sent[1]["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city": "Oslo"}'}
    assert [(m["role"], m["content"], m["tool_call_id"]) for m in sent[2:]] == [
        ("tool", "rain", "call0"), ("tool", "wind", "call1"),
    ]  # fmt: skip
    assert answer_text(page) == "It rains"


@pytest.mark.parametrize(("status", "words"), [(429, "The server is busy"), (503, "The server cannot answer now")])
def test_a_busy_server_is_asked_again(page, script, status, words):
    script.says(ApiError(status, "come back", headers={"Retry-After": "2"}), ApiError(status, "not yet"), "Now")
    send(page, "Go")
    expect(last_answer(page)).to_contain_text(f"{words}: come back")
    expect(last_answer(page)).to_contain_text("Trying again in")
    done(page)
    assert answer_text(page) == "Now"
    expect(last_answer(page)).not_to_contain_text("busy")
    assert len(script.requests) == 3


def test_waiting_for_a_busy_server_can_be_stopped(page, script):
    script.says(ApiError(429, "come back", headers={"Retry-After": "1000"}), "Now")
    send(page, "Go")
    expect(last_answer(page)).to_contain_text("Trying again in")
    page.keyboard.press("Escape")
    done(page)
    button(page, "Regenerate").click()
    expect(last_answer(page)).to_contain_text("Now")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (ApiError(400, "prompt has 9000 tokens, the context 4096"), "The server refused the request: prompt has 9000"),
        (ApiError(413, "the body may have 10 bytes"), "The request is too large: the body may have 10 bytes"),
        (ApiError(500, "its log says why"), "The server failed: its log says why"),
        ([text("Some"), ApiError(500, "a step failed")], "The server failed: a step failed"),
        ([text("Some"), Break()], "The connection to the server broke"),
    ],
)
def test_errors_in_words_and_another_try(page, script, answer, words):
    script.says(answer, "Now")
    ask(page, "Go")
    expect(last_answer(page).get_by_role("alert")).to_contain_text(words)
    if isinstance(answer, list):
        expect(last_answer(page)).to_contain_text("Some")
    button(page, "Try again").click()
    expect(last_answer(page)).to_contain_text("Now")
    assert contents(script.requests[1]) == [("user", "Go")]


def test_after_an_error_questions_are_joined(page, script):
    script.says(ApiError(500, "failed"), "Now")
    ask(page, "One")
    ask(page, "Two", 2)
    assert contents(script.requests[1]) == [("user", "One\n\nTwo")]


def test_a_cut_answer_says_so(page, script):
    script.says(Answer(pieces("Some"), "length"))
    ask(page, "Go")
    expect(last_answer(page)).to_contain_text("Cut:")


def test_a_long_answer_is_followed_until_the_user_scrolls(page, script):
    gate = Gate()
    script.says([*pieces(LONG, 500), gate, *pieces(LONG, 500)])
    send(page, "Go")
    expect(last_answer(page)).to_contain_text("Paragraph 99")
    expect(page.get_by_text("Paragraph 99")).to_be_in_viewport()
    page.locator(".messages").hover()
    page.mouse.wheel(0, -3000)
    expect(button(page, "To the end")).to_be_visible()
    before = page.evaluate("document.querySelector('.messages').scrollTop")
    gate.open()
    done(page)
    assert page.evaluate("document.querySelector('.messages').scrollTop") == before
    button(page, "To the end").click()
    expect(page.get_by_text("Paragraph 99").last).to_be_in_viewport()
    expect(button(page, "To the end")).to_have_count(0)


def test_one_chat_is_answered_while_another_is_read(page, script):
    gate = Gate()
    script.says("First", [text("Some"), gate, text(" more")])
    ask(page, "One")
    button(page, "New chat").click()
    send(page, "Two")
    expect(last_answer(page)).to_contain_text("Some")
    page.get_by_role("navigation").get_by_text("One").click()
    expect(last_answer(page)).to_contain_text("First")
    gate.open()
    expect(button(page, "Stop")).to_have_count(0)
    page.get_by_role("navigation").get_by_text("Two").click()
    expect(last_answer(page)).to_contain_text("Some more")
