"""Settings of the server: what is wrong is an error that says so, names of models, the sources of options."""

import asyncio
import signal
import stat
import subprocess
import sys

import httpx
import pytest

pytest.importorskip("realizar.server.app", reason="needs the extra server")

from realizar.errors import ParameterError
from realizar.server.models import ModelPool
from realizar.server.settings import GIB, read_settings

EMPTY = ("host", "uds", "ssl_keyfile", "ssl_certfile", "api_key_file")
BOUNDED = ("timeout", "memory", "max_body")
SERVE = [sys.executable, "-c", "from realizar.cli import main; raise SystemExit(main())", "serve"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"models": []}, "at least 1"), ({"models": "a,a"}, "twice"), ({"models": "a", "alias": "b=c"}, "no model c"),
        ({"models": "a", "port": 70000}, "port"), ({"models": "a", "api_key": " , "}, "no key"),
        ({"models": "a", "api_key_file": "/nonexistent"}, "cannot be read"),
        ({"models": "/x/a.gguf,/y/a.gguf"}, "twice; use alias=NAME=/y/a.gguf"),
        *(({"models": "a", name: ""}, f"{name}: may not be empty") for name in EMPTY),
        *(({"models": "a", name: value}, name) for name in BOUNDED for value in ("inf", "nan", "1e300", 0)),
        ({"models": "a", "ssl_keyfile": __file__}, "ssl_keyfile: needs a certificate"),
        ({"models": "a", "chat_template": "/nonexistent"}, "chat_template=/nonexistent: there is no such file"),
        ({"models": "a", "chat_template": __file__}, "the file is no template: it uses no variable"),
        ({"models": "a", "chat_template": ["x", "a=y"]}, "chat_template=a=y: the model a has one already"),
        ({"models": "a", "ssl_certfile": "/nonexistent"}, "ssl_certfile=/nonexistent: there is no such file"),
    ],
)  # fmt: skip
def test_settings_that_are_wrong(options, text):
    async def made():
        settings = read_settings(options)
        return settings.keys, ModelPool(settings)

    with pytest.raises(ParameterError, match=text):
        asyncio.run(made())


def test_settings_of_environment_and_file(tmp_path, monkeypatch):
    file = tmp_path / "serve.toml"
    file.write_text('models = ["a"]\nport = 1\nhost = "0.0.0.0"\nn_seqs = 2\nmemory = 2.5\n')
    monkeypatch.setenv("REALIZAR_PORT", "2")
    monkeypatch.setenv("REALIZAR_N_SEQS", "3")
    monkeypatch.setenv("REALIZAR_ALIAS", "x,y=a")
    settings = read_settings({"n_seqs": 4}, file)
    assert (settings.host, settings.port, settings.n_seqs, settings.alias) == ("0.0.0.0", 2, 4, ["x", "y=a"])
    assert settings.memory == 2.5 < GIB
    file.write_text("n_sequences = 1\n")
    with pytest.raises(ParameterError, match="n_sequences"):
        read_settings({"models": ["a"]}, file)


def test_an_empty_variable_does_not_listen_everywhere(monkeypatch):
    monkeypatch.setenv("REALIZAR_HOST", "")
    with pytest.raises(ParameterError, match="host: may not be empty"):
        read_settings({"models": ["a"]})


def names(models, alias=""):
    async def made():
        return ModelPool(read_settings({"models": models, "alias": alias}))

    pool = asyncio.run(made())
    return [(served.source, served.name, served.aliases) for served in pool.models]


def test_an_alias_of_the_path_of_any_model():
    assert names("/x/a.gguf,/x/b.gguf", "c=/x/b.gguf,d=a,e") == [
        ("/x/a.gguf", "a", ["d", "e"]), ("/x/b.gguf", "b", ["c"]),
    ]  # fmt: skip


def test_files_with_the_same_stem():
    assert names("/x/a.gguf,/y/a.gguf", "b=/y/a.gguf,c=/y/a.gguf,d=a") == [
        ("/x/a.gguf", "a", ["d"]), ("/y/a.gguf", "b", ["c"]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--uds", "/nonexistent/socket"], "uds=/nonexistent/socket: cannot listen there"),
        (["--uds", "."], "cannot listen there"), (["--ssl-certfile", __file__], "ssl_keyfile: cannot be used"),
        (["--host", ""], "may not be empty"),
    ],
)  # fmt: skip
def test_options_that_cannot_be_used(arguments, text):
    done = subprocess.run([*SERVE, "smollm2", *arguments], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_a_unix_socket_is_its_users_own(model_path, tmp_path):
    path = tmp_path / "socket"
    command = [*SERVE, str(model_path), "--uds", str(path), "-t", "1"]
    for _ in range(2):
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert any("listening on" in line for line in process.stderr)
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
                assert client.get("http://any.name/metrics").status_code == 200
            process.send_signal(signal.SIGTERM)
            process.stderr.read()
            assert process.wait() == 0
        assert not path.exists()
