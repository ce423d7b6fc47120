#!/usr/bin/env bash
# llama-index-llms-openai 0.8.3 (with openai 2.54.0): of several tool-call deltas in one chunk of a stream only the first is read.
#
# `delta.tool_calls` is a list, whose entries say by `index` to which call they belong; a server that has two new pieces
# when it writes a chunk may send both.
# Expected: two calls, as from the same deltas in two chunks, and as the openai package's own accumulation gives.
# Seen: the second call is missing, without an error.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet llama-index-llms-openai==0.8.3 openai==2.54.0
"$folder/venv/bin/python" - <<'PYTHON'
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

from llama_index.core.llms import ChatMessage
from llama_index.llms.openai import OpenAI

CALLS = [
    {"index": i, "id": f"call_{i}", "type": "function", "function": {"name": name, "arguments": "{}"}}
    for i, name in enumerate(("first", "second"))
]


class Server(BaseHTTPRequestHandler):
    chunks = []

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for delta, reason in [*((calls, None) for calls in self.chunks), ([], "tool_calls")]:
            choice = {"index": 0, "delta": {"role": "assistant", **({"tool_calls": delta} if delta else {})},
                      "finish_reason": reason}
            chunk = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice]}
            self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *arguments):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()


def names(chunks):
    Server.chunks = chunks
    llm = OpenAI(model="gpt-4o", api_base=f"http://127.0.0.1:{server.server_port}/v1", api_key="none")
    *_, last = llm.stream_chat([ChatMessage(role="user", content="Call both.")])
    return [call.function.name for call in last.message.additional_kwargs.get("tool_calls", [])]


apart, together = names([[call] for call in CALLS]), names([CALLS])
print("llama-index-llms-openai", version("llama-index-llms-openai"), "openai", version("openai"))
print(f"expected ['first', 'second'] for both deltas in one chunk; seen {together}, in two chunks {apart}")
raise SystemExit((apart, together) != (["first", "second"], ["first"]))
PYTHON
