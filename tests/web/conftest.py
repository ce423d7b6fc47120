"""Chromium, a scripted server, and pages that must ask no other server, open no dialog and keep to the policy."""

import os
import shutil
import subprocess
from urllib.parse import urlsplit

import pytest

from tests.meta.house import ROOT

SOURCES = ROOT / "realizar/server/web"
FOR_EVER_MS = 3_600_000
"""pytest has a limit."""


def pytest_itemcollected(item):
    """Only `pytest -m browsers` runs these tests."""
    item.add_marker(pytest.mark.browsers)


@pytest.fixture(scope="session")
def node_sources(tmp_path_factory):
    """A copy of the page's sources with the packages of its lock installed."""
    folder = tmp_path_factory.mktemp("node") / "web"
    shutil.copytree(SOURCES, folder, ignore=shutil.ignore_patterns("node_modules", "dist"))
    subprocess.run(["npm", "ci"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return folder


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import expect, sync_playwright

    path = os.environ.get("REALIZAR_TEST_CHROMIUM") or shutil.which("chromium")
    if path is None:
        pytest.fail("no chromium: apt-get install chromium, or name another by REALIZAR_TEST_CHROMIUM")
    expect.set_options(timeout=FOR_EVER_MS)
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def script():
    from tests.web.scripted import scripted

    with scripted() as found:
        yield found


@pytest.fixture
def visit(browser):
    """Returns a function that opens the page of a server in a new profile; at the end checks what all pages did.

    `visit.reports` are those of the policy; a test that expects some clears it.
    """
    contexts, faults, reports = [], [], []

    def opened(url, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(FOR_EVER_MS)
        host = urlsplit(url).netloc
        context.on("request", lambda request: faults.extend(_foreign(request.url, host)))
        context.on("dialog", lambda dialog: (faults.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        context.on("weberror", lambda error: faults.append(f"error: {error.error}"))
        context.on("console", lambda message: reports.extend(_policy(message.text)))
        page = context.new_page()
        page.goto(url)
        page.locator("#message").wait_for()
        return page

    opened.reports = reports
    yield opened
    for context in contexts:
        context.close()
    assert faults == []
    assert reports == []


def _foreign(url, host):
    parts = urlsplit(url)
    return [] if parts.scheme == "blob" or parts.netloc == host else [f"request: {url[:200]}"]


def _policy(text):
    return [text] if "Content Security Policy" in text or "TrustedHTML" in text else []


@pytest.fixture
def page(visit, script):
    return visit(script.url)
