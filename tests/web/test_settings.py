"""Settings, models, the key, themes, history and export."""

import json

import pytest

pytest.importorskip("playwright.sync_api", reason="needs the extra web")

from playwright.sync_api import expect

from tests.web.scripted import Gate, call, scripted, text, thought
from tests.web.steps import answer_text, ask, button, contents, done, last_answer, menu, send

SAMPLING = {"temperature": 0.7, "top_p": 0.9, "top_k": 40, "min_p": 0.05, "max_tokens": 100, "seed": 7}
LABELS = dict(zip(SAMPLING, ("Temperature", "Top p", "Top k", "Min p", "Max tokens", "Seed"), strict=True))


def background(page):
    return page.evaluate("getComputedStyle(document.documentElement).backgroundColor")


def test_sampling_and_the_system_prompt(page, script):
    script.says("A", "B", "C")
    button(page, "Settings").click()
    for name, value in SAMPLING.items():
        page.get_by_label(LABELS[name]).fill(str(value))
    page.get_by_label("System prompt").fill("Be brief.")
    button(page, "Close").click()
    ask(page, "Go")
    assert {name: script.requests[0].get(name) for name in SAMPLING} == SAMPLING
    assert contents(script.requests[0]) == [("system", "Be brief."), ("user", "Go")]
    page.reload()
    ask(page, "Go")
    assert script.requests[1]["top_k"] == 40
    button(page, "Settings").click()
    button(page, "Use the defaults").click()
    page.keyboard.press("Escape")
    button(page, "New chat").click()
    ask(page, "Go")
    assert set(script.requests[2]) == {"messages", "model", "stream", "stream_options"}


def test_the_model_is_chosen(visit):
    models = [{"id": "small", "max_model_len": 512, "status": {"value": "loaded"}}, {"id": "large"}]
    models[1]["status"] = {"value": "unloaded"}
    with scripted(models=models) as script:
        script.says("A", "B")
        page = visit(script.url)
        choice = page.get_by_label("Model")
        expect(choice).to_have_value("small")
        expect(choice.locator("option")).to_have_text(["small", "large (unloaded)"])
        expect(page.locator(".context")).to_contain_text("512 tokens")
        ask(page, "Go")
        assert script.requests[0]["model"] == "small"
        choice.select_option("large")
        ask(page, "Go", 2)
        assert script.requests[1]["model"] == "large"
        expect(page.locator(".answer h2")).to_have_text(["small", "large"])
        page.reload()
        expect(choice).to_have_value("large")
        del script.models[1]
        page.reload()
        script.says("C")
        ask(page, "Go")
        assert script.requests[2]["model"] == "small"


def test_a_server_out_of_reach(page, script):
    page.route("**/v1/models", lambda route: route.abort())
    page.get_by_label("Model").focus()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The server cannot be reached")
    page.unroute("**/v1/models")
    button(page, "Try again").click()
    expect(alert).to_have_count(0)


def test_the_key_is_asked_for_and_stays_in_the_tab(visit):
    with scripted(keys=["right"]) as script:
        script.says("A", "B")
        page = visit(script.url)
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("only with an API key")
        expect(page.get_by_label("Key", exact=True)).to_be_focused()
        page.get_by_label("Key", exact=True).fill("wrong")
        page.keyboard.press("Enter")
        expect(dialog).to_contain_text("did not accept this key")
        page.get_by_label("Key", exact=True).fill("right")
        page.keyboard.press("Enter")
        expect(dialog).to_have_count(0)
        expect(page.get_by_label("Model")).to_have_value("tiny")
        ask(page, "Go")
        assert script.headers[0]["authorization"] == "Bearer right"
        assert page.evaluate("JSON.stringify(localStorage)").count("right") == 0
        page.reload()
        ask(page, "Go")
        other = page.context.new_page()
        other.goto(script.url)
        expect(other.get_by_role("dialog")).to_contain_text("only with an API key")
        other.close()
        button(page, "Settings").click()
        button(page, "Forget the key").click()
        expect(page.get_by_role("dialog")).to_contain_text("only with an API key")
        assert page.evaluate("sessionStorage.length") == 0


def test_without_a_key_the_answer_says_so(visit):
    with scripted(keys=["right"]) as script:
        page = visit(script.url)
        page.keyboard.press("Escape")
        expect(page.get_by_role("alert")).to_contain_text("needs an API key")
        send(page, "Go")
        expect(page.get_by_role("dialog")).to_contain_text("only with an API key")
        page.keyboard.press("Escape")
        expect(last_answer(page)).to_contain_text("The server needs an API key.")
        assert script.requests == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_is_the_systems_or_the_chosen_one(visit, script, scheme):
    page = visit(script.url, color_scheme=scheme)
    systems = background(page)
    button(page, "Settings").click()
    page.get_by_label("Light").check()
    light = background(page)
    page.get_by_label("Dark").check()
    dark = background(page)
    assert light != dark
    assert systems == (dark if scheme == "dark" else light)
    page.reload()
    assert background(page) == dark


def test_the_history_stays_and_is_deleted(page, script):
    script.says("First", "Second")
    ask(page, "One *title*\nand a line")
    button(page, "New chat").click()
    ask(page, "Two")
    page.reload()
    chats = page.get_by_role("navigation").get_by_role("listitem")
    expect(chats).to_have_text(["Two", "One *title*"])
    chats.nth(1).click()
    assert answer_text(page) == "First"
    menu(page, "Delete this chat")
    button(page, "Keep").click()
    menu(page, "Delete this chat")
    button(page, "Delete").click()
    expect(chats).to_have_text(["Two"])
    expect(page.locator(".answer")).to_have_count(0)
    button(page, "Settings").click()
    button(page, "Delete all chats").click()
    button(page, "Delete all").click()
    expect(chats).to_have_count(0)
    page.reload()
    page.get_by_text("Chats are kept in this browser").wait_for()


def test_the_history_has_a_bound(page, script):
    page.evaluate(
        """async () => {
            const db = await new Promise(resolve => {
                const request = indexedDB.open("realizar", 1);
                request.onsuccess = () => resolve(request.result);
            });
            const store = db.transaction("chats", "readwrite").objectStore("chats");
            for (let i = 0; i < 205; i++) {
                const m = { id: `m${i}`, parent: null, role: "user", text: `old ${i}` };
                const own = { messages: { [m.id]: m }, shown: { "": m.id } };
                store.put({ id: `c${i}`, title: `old ${i}`, updated: i + 1, ...own });
            }
            await new Promise(resolve => (store.transaction.oncomplete = resolve));
        }"""
    )
    page.reload()
    chats = page.get_by_role("navigation").get_by_role("listitem")
    expect(chats).to_have_count(205)
    script.says("A")
    ask(page, "New")
    expect(chats).to_have_count(200)
    page.reload()
    expect(chats).to_have_count(200)
    expect(chats.first).to_have_text("New")
    expect(chats.last).to_have_text("old 6")


def test_what_is_not_sent_stays_with_its_chat(page, script):
    script.says("A")
    ask(page, "One")
    page.keyboard.type("a draft")
    button(page, "New chat").click()
    expect(page.locator("#message")).to_have_value("")
    page.get_by_role("navigation").get_by_text("One").click()
    expect(page.locator("#message")).to_have_value("a draft")


def test_a_browser_that_keeps_nothing(visit, script):
    page = visit(script.url)
    refuse = "IDBFactory.prototype.open = () => { throw new Error('no room'); }; Storage.prototype.setItem = refuse"
    page.context.add_init_script(f"const refuse = () => {{ throw new Error('no room'); }}; {refuse}")
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("This browser keeps no history for this page: no room")
    script.says("A")
    ask(page, "One")
    assert answer_text(page) == "A"
    expect(page.get_by_role("alert")).to_contain_text("could not be kept in the browser: no room")


def test_an_answer_that_the_page_was_closed_on(page, script):
    gate = Gate()
    script.says([text("Some"), gate], "Again")
    send(page, "Go")
    expect(last_answer(page)).to_contain_text("Some")
    page.reload()
    page.get_by_role("navigation").get_by_role("listitem").click()
    expect(last_answer(page)).to_contain_text("Interrupted")
    button(page, "Regenerate").click()
    expect(last_answer(page)).to_contain_text("Again")


def exported(page, action):
    with page.expect_download() as found:
        action()
    return found.value.suggested_filename, found.value.path().read_text(encoding="utf-8")


def test_export(page, script):
    script.says([thought("Hm."), text("# An *answer*"), call(0, '{"a": "```"}', "tool")], "Other")
    ask(page, "The question: why?")
    button(page, "Regenerate").click()
    done(page)
    button(page, "Previous").click()
    name, markdown = exported(page, lambda: menu(page, "Export as Markdown"))
    assert name == "the-question-why.md"
    assert markdown == (
        "# The question: why?\n\n## You\n\nThe question: why?\n\n## tiny\n\n> Hm.\n\n# An *answer*\n\n"
        'Tool call `tool`:\n\n````json\n{"a": "```"}\n````\n'
    )
    name, data = exported(page, lambda: menu(page, "Export as JSON"))
    assert name == "the-question-why.json"
    (chat,) = json.loads(data)["chats"]
    assert sorted(message["text"] for message in chat["messages"].values()) == [
        "# An *answer*", "Other", "The question: why?",
    ]  # fmt: skip
    button(page, "Settings").click()
    name, data = exported(page, button(page, "Export all as JSON").click)
    assert name == "realizar-chats.json"
    assert json.loads(data)["chats"] == [chat]


def test_copy(page, script):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    script.says("Text\n\n```js\nlet x;\n```")
    ask(page, "Go")
    page.get_by_role("button", name="Copy code").click()
    expect(page.get_by_role("status")).to_have_text("Copied the code")
    assert page.evaluate("navigator.clipboard.readText()") == "let x;"
    page.evaluate("navigator.clipboard.writeText = undefined")  # as on pages without HTTPS
    page.get_by_role("button", name="Copy answer").click()
    expect(page.get_by_role("status")).to_have_text("Copied the answer")
    assert page.evaluate("navigator.clipboard.readText()") == "Text\n\n```js\nlet x;\n```"
