"""GET /: the chat page as the server sends it: files, types, caching, policy, keys; tests/web/ runs it in a browser."""

import json
import re
import subprocess
import sys
from importlib.resources import files

import pytest

pytest.importorskip("realizar.server.app", reason="needs the extra server")

from tests.meta.house import ROOT
from tests.server.serving import serving

DIST = ROOT / "realizar/server/web/dist"
TYPES = {
    ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml",
    ".woff2": "font/woff2", ".txt": "text/plain; charset=utf-8",
}  # fmt: skip
LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
MOST_BYTES = 1_200_000


@pytest.fixture(scope="module")
def page(server):
    return server.http.get("/")


def loaded(text):
    """The paths that the page loads."""
    return re.findall(r'(?:src|href)="([^"]+)"', text)


def test_the_page(page):
    assert page.status_code == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Cache-Control"] == "no-cache"
    assert "<style" not in page.text
    assert all(match == "" for match in re.findall(r"<script[^>]*>(.*?)</script>", page.text, re.DOTALL))


def test_its_policy(page):
    policy = dict(part.strip().split(" ", 1) for part in page.headers["Content-Security-Policy"].split(";"))
    assert policy.pop("default-src") == "'none'"
    assert policy.pop("frame-ancestors") == policy.pop("base-uri") == policy.pop("form-action") == "'none'"
    assert (policy.pop("require-trusted-types-for"), policy.pop("trusted-types")) == ("'script'", "dompurify")
    assert set(policy.values()) == {"'self'"}
    assert set(policy) == {"script-src", "style-src", "font-src", "img-src", "connect-src"}
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Referrer-Policy"] == "no-referrer"


def test_what_it_loads(server, page):
    paths = loaded(page.text)
    assert {path.rpartition(".")[2] for path in paths} == {"js", "css", "svg"}
    for path in paths:
        assert not path.startswith(("/", "http"))  # it also works below a prefix of a proxy
        assert re.search(r"-[A-Z0-9]{8}\.", path)
        response = server.http.get(f"/{path}")
        assert response.status_code == 200
        assert response.headers["Content-Type"] == TYPES[f".{path.rpartition('.')[2]}"]
        assert "immutable" in response.headers["Cache-Control"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_the_style_sheet_names_fonts_of_the_server_only(server, page):
    (path,) = [path for path in loaded(page.text) if path.endswith(".css")]
    urls = re.findall(r"url\(([^)]*)\)", server.http.get(f"/{path}").text)
    assert len(urls) > 10
    for url in urls:
        response = server.http.get(f"/web/{url.strip(chr(34))}")
        assert (response.status_code, response.headers["Content-Type"]) == (200, "font/woff2")


def test_what_the_browser_has_is_not_sent_again(server, page):
    tag = page.headers["ETag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = server.http.get("/", headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    assert server.http.get("/", headers={"If-None-Match": '"other"'}).status_code == 200


def test_head_has_the_headers_alone(server, page):
    head = server.http.head("/")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == page.headers["Content-Length"]


@pytest.mark.parametrize(
    "path", ["/web/", "/web/index.html", "/web/app.js", "/web/../page.py", "/web/..%2fpage.py", "/web/%2e%2e/page.py"]
)
def test_no_other_file_is_sent(server, path):
    response = server.http.get(path)
    assert response.status_code == 404
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_the_page_needs_no_key_and_the_api_does(model_path):
    with serving(model_path, api_key="right") as server:
        page = server.http.get("/")
        assert page.status_code == 200
        for path in loaded(page.text):
            assert server.http.get(f"/{path}").status_code == 200
        for path in ("/v1/models", "/web/other.js", "/web/", "/web"):
            assert server.http.get(path).status_code == 401
        assert server.http.post("/").status_code == 405


def test_other_pages_may_link_to_the_page_but_not_load_or_frame_it(server):
    assert server.http.get("/", headers=LINK).status_code == 200
    assert server.http.get("/metrics", headers=LINK).status_code == 403
    for changed in ({"Sec-Fetch-Dest": "iframe"}, {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"}):
        assert server.http.get("/", headers={**LINK, **changed}).status_code == 403


def test_a_page_with_a_key_may_use_the_server_under_any_name_of_it(model_path):
    named = {"Host": "box.lan:8080", "Origin": "http://box.lan:8080"}
    with serving(model_path, api_key="right") as server:
        key = {"Authorization": "Bearer right"}
        assert server.http.get("/v1/models", headers={**named, **key}).status_code == 200
        assert server.http.get("/v1/models", headers={**named, **key, "Origin": "http://evil.org"}).status_code == 403
        assert server.http.get("/v1/models", headers=named).status_code == 401
    with serving(model_path) as server:
        assert server.http.get("/", headers=named).status_code == 403


def test_the_build_is_small_and_names_no_other_server():
    built = {file.name: file.read_bytes() for file in DIST.iterdir()}
    assert sum(map(len, built.values())) < MOST_BYTES
    assert {name.rpartition(".")[2] for name in built} == {"html", "js", "css", "svg", "woff2", "txt"}
    for name, body in built.items():
        if name.endswith((".html", ".css")):
            assert b"//" not in body, name


def test_the_licences_of_the_libraries_are_with_them():
    text = (DIST / "LICENSES.txt").read_text()
    for name in ("preact", "marked", "dompurify", "highlight.js", "katex", "idb", "eventsource-parser"):
        assert re.search(rf"^(?:@preact/)?{re.escape(name)} [\d.]+ \(", text, re.MULTILINE), name


def test_the_wheel_has_the_build_and_not_the_sources(tmp_path):
    """What setuptools would put into a wheel; to build one takes a compiler."""
    code = (
        "import json, sys, setuptools\n"
        "import Cython.Build\n"
        "Cython.Build.cythonize = lambda *a, **k: []\n"
        "sys.argv = ['setup.py', '--quiet', 'egg_info', '--egg-base', sys.argv[1]]\n"
        "setuptools.setup, make = lambda **k: done.append(make(**k)), setuptools.setup\n"
        "done = []\n"
        "exec(compile(open('setup.py').read(), 'setup.py', 'exec'))\n"
        "command = done[0].get_command_obj('build_py')\n"
        "command.ensure_finalized()\n"
        "found = [f'{name.replace(chr(46), chr(47))}/{f}' for name, _, _, files in command.data_files for f in files]\n"
        "print('found', json.dumps(found))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.partition("found ")[2])
    web = {path for path in found if path.startswith("realizar/server/web/")}
    assert web == {f"realizar/server/web/dist/{file.name}" for file in DIST.iterdir()}
    assert (files("realizar.server") / "web/dist/index.html").is_file()
