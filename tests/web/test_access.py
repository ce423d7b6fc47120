"""The page for everybody: axe, the keyboard alone, small screens, contrast in both themes."""

import pytest

pytest.importorskip("playwright.sync_api", reason="needs the extra web")

from playwright.sync_api import expect

from tests.web.scripted import Answer, Gate, call, pieces, text, thought
from tests.web.steps import answer_text, ask, button, done, last_answer, send

EVERYTHING = r"""# A title

Text with **bold**, `code`, [a link](https://example.org) and $x^2$.

| One | Two |
|---|--:|
| a_very_long_word_that_no_cell_can_break_because_it_has_no_blank_at_all | 2 |

```python
print("a line of code that is much wider than a small screen, so that it has to be scrolled", 1)  # comment
```

$$\int_0^\infty e^{-x^2} dx = \frac{\sqrt{\pi}}{2} + a + b + c + d + e + f + g + h + i + j + k + l + m + n + o + p$$

> A quotation

- [x] done
- [ ] to do

averylongwordaverylongwordaverylongwordaverylongwordaverylongwordaverylongwordaverylongword
"""
SERIOUS = """async () => {
    const { violations } = await axe.run(document, { resultTypes: ["violations"] });
    return violations
        .filter(({ impact }) => impact === "serious" || impact === "critical")
        .map(({ id, nodes }) => `${id}: ${nodes.map(node => node.html).slice(0, 3).join(" | ").slice(0, 300)}`);
}"""


@pytest.fixture(scope="session")
def axe(node_sources):
    return (node_sources / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")


def fill(page, script):
    """Show everything that the page can show: branches, thoughts, Markdown, calls, a result, an error."""
    deltas = [thought("Some *thoughts*."), *pieces(EVERYTHING, 40), call(0, '{"city": "Oslo"}', "weather")]
    script.says(
        Answer(deltas, "tool_calls"), "Another", Answer(deltas, "tool_calls"), Answer([call(0, "{", "f")], "length")
    )
    ask(
        page,
        "A question that has\n\nseveral lines and averylongwordaverylongwordaverylongwordaverylongwordaverylongword",
    )
    button(page, "Regenerate").click()
    done(page)
    ask(page, "Again", 2)
    page.get_by_label("Result of weather", exact=True).and_(page.locator("textarea")).fill("rain")
    button(page, "Send the result").click()
    done(page, 3)


def check(page, axe):
    page.evaluate(axe)
    assert page.evaluate(SERIOUS) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_axe_finds_nothing_serious(visit, script, axe, scheme, width):
    page = visit(
        script.url,
        color_scheme=scheme,
        viewport={"width": width, "height": 800},
        bypass_csp=True,
        reduced_motion="reduce",
    )
    check(page, axe)
    fill(page, script)
    page.evaluate("document.querySelectorAll('details:not(.menu)').forEach(details => (details.open = true))")
    check(page, axe)
    page.get_by_text("More", exact=True).click()
    check(page, axe)
    page.keyboard.press("Escape")
    button(page, "Edit").first.click()
    check(page, axe)
    button(page, "Cancel").click()
    button(page, "Settings").click()
    page.get_by_label("Tools").fill("wrong")
    check(page, axe)
    page.keyboard.press("Escape")
    if width == 360:
        button(page, "Chats").click()
        check(page, axe)
        page.keyboard.press("Escape")
    page.route("**/v1/models", lambda route: route.abort())
    page.get_by_label("Model").focus()
    page.get_by_role("alert").get_by_text("cannot be reached").wait_for()
    check(page, axe)


def test_nothing_is_wider_than_a_small_screen(visit, script):
    page = visit(script.url, viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
    width = "Math.max(document.documentElement.scrollWidth, document.querySelector('main').scrollWidth)"
    assert page.evaluate(width) == 360
    fill(page, script)
    assert page.evaluate(width) == 360
    assert page.evaluate("(m => m.scrollWidth - m.clientWidth)(document.querySelector('.messages'))") == 0
    for name in ("Settings", "Chats", "Send"):
        box = button(page, name).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
        assert box["height"] >= 32
    button(page, "Settings").tap()
    assert page.evaluate("(d => d.scrollWidth - d.clientWidth)(document.querySelector('dialog[open]'))") == 0


def test_the_list_of_chats_on_a_small_screen(visit, script):
    page = visit(script.url, viewport={"width": 360, "height": 640})
    script.says("First")
    ask(page, "One")
    chats = page.get_by_role("navigation")
    expect(chats).to_be_hidden()
    button(page, "Chats").click()
    expect(button(page, "New chat")).to_be_focused()
    page.keyboard.press("Escape")
    expect(chats).to_be_hidden()
    expect(button(page, "Chats")).to_be_focused()
    button(page, "Chats").click()
    button(page, "New chat").click()
    expect(chats).to_be_hidden()
    expect(page.locator("#message")).to_be_focused()
    button(page, "Chats").click()
    page.mouse.click(350, 300)
    expect(chats).to_be_hidden()


def focused(page):
    return page.evaluate("(e => e.getAttribute('aria-label') || e.id || e.textContent)(document.activeElement)")


def test_the_order_of_the_focus(page, script):
    script.says("An answer")
    ask(page, "Go")
    page.locator("#message").fill("x")
    page.evaluate("document.activeElement.blur(); document.querySelector('.skip').focus()")
    order = [focused(page)]
    while order[-1] != "Send" and len(order) < 20:
        page.keyboard.press("Tab")
        order.append(focused(page))
    assert order == [
        "Skip to the message", "New chat", "Go", "More", "Settings", "Messages", "Copy message", "Edit", "Copy answer",
        "Regenerate", "message", "Model", "Send",
    ]  # fmt: skip


def test_the_keyboard_alone(page, script):
    gate = Gate()
    script.says([text("Some"), gate], "Other", "Edited")
    keys = page.keyboard
    expect(page.locator("#message")).to_be_focused()
    keys.type("One")
    keys.press("Shift+Enter")
    keys.type("line")
    keys.press("Enter")
    expect(last_answer(page)).to_contain_text("Some")
    keys.type("typed meanwhile")
    keys.press("Enter")
    expect(page.locator("#message")).to_have_value("typed meanwhile")
    keys.press("Escape")
    done(page)
    expect(page.locator("#message")).to_be_focused()
    keys.press("Shift+Tab")
    assert focused(page) == "Regenerate"
    keys.press("Enter")
    expect(last_answer(page)).to_contain_text("Other")
    done(page)
    button(page, "Edit").focus()
    keys.press("Enter")
    keys.press("End")
    keys.type("!")
    keys.press("Enter")
    done(page)
    assert answer_text(page) == "Edited"
    assert script.requests[2]["messages"][0]["content"] == "One\nline!"


def test_dialogs_keep_the_focus_and_give_it_back(page):
    button(page, "Settings").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    for _ in range(30):
        page.keyboard.press("Tab")
        assert page.evaluate("!document.activeElement.closest('main, nav')")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(button(page, "Settings")).to_be_focused()


def test_an_input_method_composes_a_character(page, script):
    script.says("A")
    area = page.locator("#message")
    area.fill("x")
    area.dispatch_event("keydown", {"key": "Enter", "isComposing": True})
    assert script.requests == []
    send(page, "x")
    done(page)


def test_screen_readers_are_told_once(page, script):
    gate = Gate()
    script.says([text("Some"), gate])
    send(page, "Go")
    status = page.get_by_role("status")
    expect(status).to_have_text("The answer is being written")
    expect(last_answer(page)).to_have_attribute("aria-busy", "true")
    gate.open()
    expect(status).to_have_text("The answer is complete")
    expect(page.get_by_role("heading", level=1)).to_have_text("Go")
    expect(page.get_by_role("heading", level=2).filter(has_text="You")).to_have_count(1)
