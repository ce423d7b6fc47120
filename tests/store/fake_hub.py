"""A small copy of the Hugging Face hub's HTTP API: the files of one repository, at two revisions."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REPO = "owner/repo"
COMMITS = {"main": "a" * 40, "v1": "b" * 40}
TOKEN = "hf_secret"
DATA = b"GGUF" + bytes(range(256)) * 4000


class FakeHub(ThreadingHTTPServer):
    """Serves `files`, commit -> name -> bytes; `cut` is how many bytes the next download sends before it breaks off.

    `requests` has (method, path, Range) of all requests. With `speaks_html` something else answers in its place.
    """

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = files
        self.cut = None
        self.speaks_html = False
        self.requests = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        path = self.path.partition("?")[0]
        self.server.requests.append((self.command, path, self.headers.get("Range")))
        if self.server.speaks_html:
            self.send(200, b"<html>Log in to this network</html>", {"Content-Type": "text/html"})
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.send(401, b"", {"X-Error-Code": "RepoNotFound"})
        elif path.startswith(f"/api/models/{REPO}"):
            self.listing(path.removeprefix(f"/api/models/{REPO}").removeprefix("/revision/") or "main")
        elif path.startswith(f"/{REPO}/resolve/"):
            self.file(*path.removeprefix(f"/{REPO}/resolve/").split("/", 1))
        else:
            self.send(404, b"", {"X-Error-Code": "RepoNotFound"})

    def listing(self, revision):
        commit = COMMITS.get(revision)
        if commit is None:
            self.send(404, b"", {"X-Error-Code": "RevisionNotFound"})
            return
        siblings = [{"rfilename": name} for name in self.server.files[commit]]
        body = {"id": REPO, "modelId": REPO, "sha": commit, "siblings": siblings}
        self.send(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def file(self, revision, name):
        commit = COMMITS.get(revision)
        if commit is None:
            self.send(404, b"", {"X-Error-Code": "RevisionNotFound"})
            return
        data = self.server.files[commit].get(name)
        if data is None:
            self.send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
            return
        headers = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha256(data).hexdigest()}"', "Accept-Ranges": "bytes"}
        begin = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        if begin:
            headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        self.send(206 if begin else 200, data[begin:], headers)

    def send(self, status, body, headers):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": len(body)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command == "GET":
            cut, self.server.cut = (self.server.cut, None) if body[:4] == b"GGUF" else (None, self.server.cut)
            self.wfile.write(body[:cut])
            self.close_connection = True
