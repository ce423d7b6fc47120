"""The page on the real server with a tiny model: the texts of the API, keys, errors, a cancelled request."""

import pytest

pytest.importorskip("playwright.sync_api", reason="needs the extra web")

from playwright.sync_api import expect

from tests.clocks import wait_until
from tests.server.serving import Gate, serving, write_model
from tests.web.steps import ask, button, done, last_answer, menu, send

SETTINGS = {"Temperature": 0, "Max tokens": 24}


@pytest.fixture(scope="module")
def model_path(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("page") / "tiny.gguf")


@pytest.fixture(scope="module")
def server(model_path):
    with serving(model_path) as found:
        yield found


def set_fields(page, values):
    button(page, "Settings").click()
    for label, value in values.items():
        page.get_by_label(label, exact=True).fill(str(value))
    page.keyboard.press("Escape")


def stored_text(page):
    """The text of the last answer as the browser keeps it: Markdown changes what a random model writes."""
    return page.evaluate(
        """() => new Promise(resolve => {
            indexedDB.open("realizar", 1).onsuccess = ({ target }) => {
                const all = target.result.transaction("chats").objectStore("chats").getAll();
                all.onsuccess = () => {
                    const chats = all.result.sort((a, b) => b.updated - a.updated);
                    resolve(Object.values(chats[0].messages).at(-1).text);
                };
            };
        })"""
    )


def completion(server, messages, **more):
    body = {"messages": messages, "temperature": 0, "max_tokens": 24, **more}
    return server.post("/v1/chat/completions", body)[1]


def test_the_text_is_that_of_the_api(visit, server):
    page = visit(server.url)
    set_fields(page, SETTINGS)
    ask(page, "How are you?")
    first = completion(server, [{"role": "user", "content": "How are you?"}])
    text = first["choices"][0]["message"]["content"]
    wait_until(lambda: stored_text(page) == text)
    used = first["usage"]
    expect(page.locator(".context")).to_contain_text(f"{used['total_tokens']} of 512 tokens of context")
    expect(last_answer(page)).to_contain_text(f"{used['completion_tokens']} token")
    ask(page, "And now?", 2)
    turns = [("user", "How are you?"), ("assistant", text), ("user", "And now?")]
    second = completion(server, [{"role": role, "content": content} for role, content in turns])
    wait_until(lambda: stored_text(page) == second["choices"][0]["message"]["content"])


def test_a_seed_gives_the_same_answer_again(visit, server):
    page = visit(server.url)
    set_fields(page, {"Temperature": 1, "Max tokens": 24, "Seed": 5})
    ask(page, "Go")
    first = stored_text(page)
    button(page, "Regenerate").click()
    expect(page.get_by_text("2 of 2")).to_be_visible()
    done(page)
    assert stored_text(page) == first
    same = completion(server, [{"role": "user", "content": "Go"}], temperature=1, seed=5)
    assert same["choices"][0]["message"]["content"] == first


def test_stop_cancels_the_request(visit, model_path):
    with serving(model_path) as server:
        page = visit(server.url)
        set_fields(page, {"Temperature": 0, "Max tokens": 400})
        gate = Gate(server.engine)
        gate.let(5)
        send(page, "Go")
        wait_until(lambda: gate.n_asked > 5)
        button(page, "Stop").click()
        done(page)
        gate.open()
        wait_until(lambda: server.engine.stats().n_running == 0)
        expect(last_answer(page)).to_contain_text("Stopped.")


def test_a_prompt_that_is_too_long(visit, server):
    page = visit(server.url)
    ask(page, "many words " * 600)
    expect(last_answer(page).get_by_role("alert")).to_contain_text("The server refused the request: ")
    expect(last_answer(page).get_by_role("alert")).to_contain_text("512")


def test_a_key(visit, model_path):
    with serving(model_path, api_key="right") as server:
        page = visit(server.url)
        page.get_by_label("Key", exact=True).fill("right")
        page.keyboard.press("Enter")
        expect(page.get_by_label("Model")).to_have_value("tiny")
        set_fields(page, SETTINGS)
        ask(page, "Go")
        expect(last_answer(page)).to_contain_text("token")


def test_a_model_is_loaded_for_its_first_message(visit, model_path, tmp_path):
    with serving(model_path, write_model(tmp_path / "other.gguf")) as server:
        page = visit(server.url)
        choice = page.get_by_label("Model")
        expect(choice.locator("option")).to_have_text(["tiny", "other (unloaded)"])
        choice.select_option("other")
        set_fields(page, SETTINGS)
        ask(page, "Go")
        expect(choice.locator("option")).to_have_text(["tiny", "other"])
        expect(page.locator(".context")).to_contain_text("of 512 tokens of context")
        menu(page, "Delete this chat")
