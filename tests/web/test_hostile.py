"""Hostile Markdown and HTML of a model does nothing: no script, no dialog, no request, no element that is not text."""

import pytest

pytest.importorskip("playwright.sync_api", reason="needs the extra web")

from playwright.sync_api import expect

from tests.web.hostile import NOT_ALLOWED, TEXTS
from tests.web.scripted import Answer, call, pieces, text, thought
from tests.web.steps import ask, done, last_answer, send

MARKS = "() => { window.alert = window.confirm = window.prompt = () => { window.wasCalled = true; }; }"
FAULTS = """notAllowed => {
    const found = [];
    for (const answer of document.querySelectorAll(".answer .markdown")) {
        for (const element of answer.querySelectorAll("*")) {
            for (const { name, value } of element.attributes) {
                const isMath = element.closest(".katex");
                if (/^on/i.test(name)) found.push(`${element.localName}[${name}]`);
                if (name === "style" && !isMath) found.push(`${element.localName}[style=${value}]`);
                if (name === "id" || name === "name" || name === "src") found.push(`${element.localName}[${name}]`);
                if (/javascript:/i.test(value)) found.push(`${element.localName}[${name}=${value}]`);
            }
            if (element.localName === "svg" && !element.closest(".katex")) found.push("svg");
        }
        for (const element of answer.querySelectorAll(notAllowed)) found.push(element.localName);
        for (const link of answer.querySelectorAll("a")) {
            if (!/^(https?:\\/\\/|mailto:)/.test(link.getAttribute("href"))) found.push(link.outerHTML);
            if (link.target !== "_blank" || !link.relList.contains("noopener")) found.push(link.outerHTML);
        }
    }
    if (window.wasCalled) found.push("a script ran");
    return found;
}"""


OWN = ("/v1/chat/completions", "/v1/models", ".woff2", ".js", ".css", ".svg")


@pytest.fixture
def others(page, script, visit):
    """A list of the requests that are not the page's own; policies also report what DOMPurify parses and drops."""
    found = []
    page.evaluate(MARKS)
    is_other = lambda url: not url.endswith(OWN) and url != f"{script.url}/"  # noqa: E731
    page.on("request", lambda request: found.extend([request.url] if is_other(request.url) else []))
    yield found
    visit.reports.clear()


def poke(page):
    """Move and click over all of the answer that is no link, as a curious user does."""
    for element in page.locator(".answer .markdown *:not(a, a *, summary)").all()[:20]:
        if element.is_visible():
            element.dispatch_event("mouseover")
            element.dispatch_event("click")
            element.dispatch_event("focus")


@pytest.mark.parametrize("name", TEXTS)
def test_an_answer(page, script, others, name):
    hostile = TEXTS[name]
    script.says([*pieces(hostile, max(1, len(hostile) // 20)), text("\n\nThe end.")])
    ask(page, "Go")
    poke(page)
    assert page.evaluate(FAULTS, NOT_ALLOWED) == []
    assert others == []
    expect(page.locator("#message")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_all_at_once_in_every_place(page, script, others):
    hostile = "\n\n".join(value for name, value in TEXTS.items() if not name.startswith(("deep", "many")))
    script.models[0]["id"] = "<img src=x onerror=alert(1)>"
    page.reload()
    page.evaluate(MARKS)
    script.says(Answer([thought(hostile), text(hostile), call(0, hostile, hostile)], "tool_calls"), hostile)
    send(page, hostile)
    done(page)
    last_answer(page).locator(".thoughts > summary").click()
    last_answer(page).locator(".results textarea").fill(hostile)
    page.get_by_text("Send the result").click()
    done(page, 2)
    poke(page)
    assert page.evaluate(FAULTS, NOT_ALLOWED) == []
    page.reload()
    page.evaluate(MARKS)
    page.get_by_role("navigation").get_by_role("listitem").first.click()
    done(page, 2)
    assert page.evaluate(FAULTS, NOT_ALLOWED) == []
    assert others == []


def test_links_open_a_page_that_knows_nothing(page, script):
    script.says(f"[x]({script.url}/other?y) <{script.url}/auto> [mail](mailto:a@example.org)")
    ask(page, "Go")
    links = last_answer(page).locator(".markdown a")
    expect(links).to_have_count(3)
    for link in links.all():
        assert link.get_attribute("target") == "_blank"
        assert set(link.get_attribute("rel").split()) >= {"noopener", "noreferrer"}
    with page.context.expect_page() as opened:
        links.first.click()
    assert opened.value.evaluate("[opener, document.referrer]") == [None, ""]


def test_the_policy_holds_where_dompurify_would_not(page, others):
    with pytest.raises(Exception, match="TrustedHTML"):
        page.evaluate("() => { document.body.innerHTML = '<b>x</b>'; }")
    for name in ("textContent", "src"):
        with pytest.raises(Exception, match="TrustedScript"):
            page.evaluate("name => { document.createElement('script')[name] = 'window.wasCalled = true'; }", name)
