#!/usr/bin/env bash
# huggingface_hub 2.4.0: its HTTP errors are those of httpx2, so code that catches httpx.HTTPError misses them.
#
# Since huggingface_hub 1.0, HfHubHTTPError has been an httpx.HTTPError, and programs catch that for every failed request.
# Expected: the same in 2.4.0, or an ImportError of the moved name.
# Seen: the class of a 404 from the hub is derived from httpx2.HTTPError, which is unrelated to httpx.HTTPError of an
# installed httpx; the error passes by `except httpx.HTTPError`.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet huggingface_hub==2.4.0 httpx==0.28.1
"$folder/venv/bin/python" - <<'PYTHON'
import os
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version


class Hub(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD

    def log_message(self, *arguments):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ.update(HF_ENDPOINT=f"http://127.0.0.1:{server.server_port}", HF_HOME=tempfile.mkdtemp())

import httpx
from huggingface_hub import HfApi

try:
    HfApi().model_info("owner/absent")
    found = "no error"
except httpx.HTTPError:
    found = "httpx.HTTPError"
except Exception as error:
    found = ".".join((type(error).__name__, *(base.__module__ for base in type(error).__mro__ if base.__name__ == "HTTPError")))
print("huggingface_hub", version("huggingface_hub"), "httpx", version("httpx"))
print(f"expected httpx.HTTPError; seen {found}")
raise SystemExit(found != "RepositoryNotFoundError.httpx2")
PYTHON
