"""The middleware: names and origins by which the server may be called, keys, bodies that do not come."""

import socket

import pytest

pytest.importorskip("realizar.server.app", reason="needs the extra server")

from tests.server.serving import serving, write_model

CHAT = "/v1/chat/completions"

CROSS = {"Sec-Fetch-Site": "cross-site"}


def status(server, path="/metrics", **headers):
    return server.http.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()}).status_code


@pytest.mark.parametrize("host", ["127.0.0.1:80", "192.168.0.7", "localhost", "LocalHost:8080", "[::1]:8080"])
def test_names_that_cannot_be_pointed_here(server, host):
    assert status(server, host=host) == 200


@pytest.mark.parametrize("host", ["evil.org", "evil.org:8080", "localhost.evil.org", "127.0.0.1.evil.org", "[", ""])
def test_other_names_are_refused(server, host):
    response = server.http.get("/metrics", headers={"Host": host})
    assert response.status_code == 403
    assert "--host" in response.json()["error"]["message"]
    assert status(server, "/health", host=host) == 200


def test_names_of_options(model_path):
    with serving(model_path, host="Box.lan", cors="https://example.org:4430") as server:
        assert status(server, host="box.lan:8080") == 200
        assert status(server, host="box.lan", origin="http://box.lan") == 200
        assert status(server, host="example.org") == 200
        assert status(server, host="example.org", origin="http://example.org") == 403
        assert status(server, host="example.com") == 403
    with serving(model_path, cors="*") as server:
        assert status(server, host="example.com", **CROSS) == 200


def test_any_name_with_a_key_or_on_a_unix_socket(model_path, tmp_path):
    with serving(model_path, api_key="a") as server:
        assert status(server, host="example.com", x_api_key="a") == 200
    with serving(model_path, uds=tmp_path / "socket") as server:
        assert status(server, host="example.com") == 200


def test_requests_of_other_pages_without_an_origin(server, model_path):
    assert status(server, **CROSS) == 403
    assert status(server, Sec_Fetch_Site="same-site") == 403
    assert status(server, Sec_Fetch_Site="same-origin") == 200
    assert status(server, Sec_Fetch_Site="none") == 200
    with serving(model_path, cors="https://example.org") as other:
        assert status(other, **CROSS) == 403
        assert status(other, origin="https://example.org", **CROSS) == 200


@pytest.mark.parametrize("origin", ["http://[", "null", "http://", "x"])
def test_origins_that_are_none(server, origin):
    assert status(server, origin=origin) == 403


def test_a_get_loads_no_model(model_path, tmp_path):
    with serving(model_path, write_model(tmp_path / "other.gguf")) as server:
        response = server.http.get("/props", params={"model": "other"})
        assert (response.status_code, response.json()["error"]["code"]) == (503, "model_not_loaded")
        assert [served.status for served in server.pool.models] == ["loaded", "unloaded"]
        assert server.post("/tokenize", {"content": "a", "model": "other"})[0] == 200
        assert server.http.get("/props", params={"model": "other"}).json()["model_alias"] == "other"


def test_either_header_may_have_the_key(model_path):
    with serving(model_path, api_key="right") as server:
        for bearer, key, want in (("x", "right", 200), ("right", "x", 200), ("x", "x", 401)):
            assert status(server, authorization=f"Bearer {bearer}", x_api_key=key) == want


def test_keys_that_are_not_ascii(model_path):
    with serving(model_path, api_key="\u00fc\u00e0,a\u20ac") as server:
        for key in ("\u00fc\u00e0".encode(), "\u00fc\u00e0".encode("latin-1"), "a\u20ac".encode()):
            assert server.http.get("/metrics", headers={b"Authorization": b"Bearer " + key}).status_code == 200
            assert server.http.get("/metrics", headers={b"x-api-key": key}).status_code == 200
        for key in (b"a", b"\xfc", b"a\xe2"):
            assert server.http.get("/metrics", headers={b"x-api-key": key}).status_code == 401


@pytest.mark.parametrize("n_bytes", [100, 2000])
def test_a_body_that_does_not_come(model_path, n_bytes):
    with serving(model_path, timeout=0.05, max_body=0.001) as server:
        with socket.create_connection(server.http.base_url.netloc.decode().split(":")) as connection:
            head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {n_bytes}\r\n\r\n"
            connection.sendall(head.encode() + b'{"messages"')
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
        assert answer.startswith(b"HTTP/1.1 408" if n_bytes < 1048 else b"HTTP/1.1 413")
        assert server.http.get("/health").status_code == 200
