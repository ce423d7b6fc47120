"""What a user does on the page, in the words of the page."""

from playwright.sync_api import expect


def send(page, text):
    """Write a message and press Enter."""
    page.get_by_label("Message", exact=True).fill(text)
    page.keyboard.press("Enter")


def done(page, n=1):
    """Wait until n answers are shown and none is being written."""
    expect(page.locator(".answer[aria-busy=false]")).to_have_count(n)
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)


def ask(page, text, n=1):
    """Send a message, and wait until n answers are shown."""
    send(page, text)
    done(page, n)


def last_answer(page):
    return page.locator(".answer").last


def answer_text(page):
    return last_answer(page).locator(".markdown").last.inner_text()


def button(page, name):
    return page.get_by_role("button", name=name, exact=True)


def contents(request):
    """Role and text of each message of a request."""
    return [(message["role"], message["content"]) for message in request["messages"]]


def menu(page, name):
    """Choose an item of the chat's menu."""
    page.get_by_text("More", exact=True).click()
    button(page, name).click()
