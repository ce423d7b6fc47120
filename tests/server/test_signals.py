"""Signals and exit statuses: the first signal lets requests end, the second ends them; and `realizar serve` itself."""

import re
import signal
import socket
import subprocess
import sys
import threading

import httpx
import pytest

pytest.importorskip("realizar.server.app", reason="needs the extra server")

from realizar.cli import main
from tests.clocks import wait_until
from tests.server.serving import QUESTION, Gate, serving

CHAT = "/v1/chat/completions"
LONG = {"messages": QUESTION, "max_tokens": 20, "temperature": 0, "ignore_eos": True, "stream": True}
SERVE = [sys.executable, "-c", "from realizar.cli import main; raise SystemExit(main())", "serve"]


class Reader(threading.Thread):
    """Reads a stream in a thread."""

    def __init__(self, url):
        super().__init__()
        self.url, self.lines = url, []

    def run(self):
        with httpx.stream("POST", self.url + CHAT, json=LONG, timeout=None) as response:
            try:
                for line in response.iter_lines():
                    self.lines.append(line)
            except httpx.HTTPError:
                self.lines.append("cut")


def test_the_first_signal_lets_streams_end(model_path):
    with serving(model_path) as server:
        gate, reader = Gate(server.engine), Reader(server.url)
        reader.start()
        gate.let(2)
        wait_until(lambda: len(reader.lines) > 4 and gate.n_asked == 3)
        server.server.handle_exit(signal.SIGTERM, None)
        wait_until(lambda: not server.app.state.is_ready)
        with pytest.raises(httpx.ConnectError):
            httpx.get(server.url + "/health")
        gate.open()
        reader.join()
        assert [line for line in reader.lines if line][-1] == "data: [DONE]"
        wait_until(lambda: server.pool.models[0].llm is None)


def test_the_second_signal_ends_streams(model_path):
    with serving(model_path) as server:
        gate, reader = Gate(server.engine), Reader(server.url)
        reader.start()
        gate.let(2)
        wait_until(lambda: len(reader.lines) > 4 and gate.n_asked == 3)
        for _ in range(2):
            server.server.handle_exit(signal.SIGTERM, None)
        reader.join()
        assert "data: [DONE]" not in reader.lines
        gate.open()


def test_serve_listens_until_a_signal(model_path):
    command = [*SERVE, str(model_path), "--port", "0", "-t", "1", "--log-format", "json"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if any("listening" in found for found in lines) and any("loaded" in found for found in lines):
                break
        url = re.search(r"http://127.0.0.1:\d+", "".join(lines))[0]
        assert httpx.get(f"{url}/ready").status_code == 200
        process.send_signal(signal.SIGTERM)
        lines += process.stderr
        assert process.wait() == 0
    assert any("shutting down" in line for line in lines)
    assert all(line.startswith('{"time": ') for line in lines)


def begun(url):
    """Send half of a request's body; returns the connection."""
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    head = "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 16\r\n\r\n"
    connection.sendall(head.encode() + b'{"content"')
    return connection


def test_a_request_that_is_read_while_the_server_shuts_down(model_path):
    with serving(model_path) as server, begun(server.url) as connection:
        wait_until(lambda: server.server.server_state.tasks)
        server.server.handle_exit(signal.SIGTERM, None)
        wait_until(lambda: not server.app.state.is_ready)
        connection.sendall(b': "a"}')
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"shutting down" in answer


def test_the_second_signal_leaves_no_traceback(model_path):
    command = [*SERVE, str(model_path), "--port", "0", "-t", "1", "--log-level", "debug"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        text = ""
        while "listening" not in text or "loaded" not in text:
            text += process.stderr.readline()
        with begun(re.search(r"http://127.0.0.1:\d+", text)[0]):
            httpx.get(re.search(r"http://127.0.0.1:\d+", text)[0] + "/health")  # after it, the other one is begun
            process.send_signal(signal.SIGTERM)
            while "shutting down: waiting for 1" not in text:
                text += process.stderr.readline()
            process.send_signal(signal.SIGTERM)
            text += process.stderr.read()
        assert process.wait() == 0
    assert "Traceback" not in text
    assert "CancelledError" not in text


def test_a_signal_while_a_model_loads_ends_the_server(model_path):
    patch = (
        "import threading; from realizar.server import loading; loading._load = lambda *_: threading.Event().wait(); "
    )
    command = [SERVE[0], "-c", patch + SERVE[2], "serve", str(model_path), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        text = ""
        while "listening" not in text or "loading" not in text:
            text += process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        text += process.stderr.read()
        assert process.wait() == 0
    assert "Traceback" not in text


@pytest.mark.parametrize(("arguments", "text"), [([], "models"), (["smollm2", "--port", "99999"], "port")])
def test_options_that_are_wrong(arguments, text, capfd, monkeypatch):
    # Its handlers would keep the captured standard error, which is closed after this test.
    monkeypatch.setattr("realizar.server.run.set_up_logs", lambda _: None)
    assert main(["serve", *arguments]) == 2
    assert text in capfd.readouterr().err


def test_a_first_model_that_cannot_be_loaded_ends_the_server(tmp_path):
    command = [*SERVE, str(tmp_path / "missing.gguf"), "--port", "0"]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert "missing.gguf: is neither a file nor a known name" in done.stderr


def test_the_event_loop_gets_the_interpreter_soon_while_the_server_runs(tmp_path):
    code = "import sys; from realizar.server import run; run.create_app = lambda *_: app"
    app = "async def app(scope, *_): print(sys.getswitchinterval()); raise SystemExit(3)"
    code = f"{code}\n{app}\nfrom realizar.cli import main; main(['serve', 'smollm2', '--port', '0'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[:1] == ["0.0005"], done.stderr
